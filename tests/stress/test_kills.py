"""SIGKILL at any moment, any number of times, and a run after it: the store is as if nothing had happened.

TIMBREL_KILLS says how many (by default 10; `make stress` asks for 100), TIMBREL_SEED which.
"""

import os
import shutil

from storage_schema import open_store
from storage_schema.bucket import Bucket
from storage_schema.files import LocalFiles
from tests.storage_schema.conftest import keys_below
from tests.stress.conftest import contents, damages
from tests.stress.job import N_WORKERS
from tests.stress.kills import disturb

N_KILLS, SEED = (int(os.environ.get(name, default)) for name, default in (("TIMBREL_KILLS", 10), ("TIMBREL_SEED", 1)))
IN_FLIGHT = 2 * N_WORKERS


def test_killed_at_any_moment_a_store_ends_as_one_never_disturbed(ingested, undisturbed, tmp_path, capsys):
    def new_store(i):
        return str(shutil.copytree(ingested, tmp_path / f"store-{i}"))

    kills, stores = disturb(new_store, tmp_path, N_KILLS, SEED)
    with capsys.disabled():
        print(f"\n{as_table(kills)}\n{len(kills)} kills, seed {SEED}, {len(stores)} stores")
    assert len(kills) == N_KILLS
    check(kills, stores, undisturbed)


def test_killed_at_any_moment_a_store_in_a_bucket_ends_so_too(ingested, undisturbed, s3_uri, tmp_path, capsys):
    def new_store(i):
        there, here = Bucket(f"{s3_uri}/store-{i}"), LocalFiles(ingested)
        for key in keys_below(here, ""):
            there.put(key, here.read(key))
        return there.uri

    kills, stores = disturb(new_store, tmp_path, -(-N_KILLS // 3), SEED, ("start", "batch"))
    with capsys.disabled():
        print(f"\n{as_table(kills)}\n{len(kills)} kills, seed {SEED}, {len(stores)} stores in a bucket")
    check(kills, stores, undisturbed)


def check(kills, stores, undisturbed):
    """Whole and equal in the end, and nothing in vain but what was in flight."""
    for kill in kills:
        assert kill.n_in_flight <= IN_FLIGHT
    expected = contents(undisturbed)
    assert len(expected) == 2 * undisturbed.snapshot().n_clips
    for store in map(open_store, stores):
        assert contents(store) == expected
        assert all(damage is None for damage in damages(store))


def as_table(kills):
    titles = ("kill", "job", "at s", "timed to", "victim", "gone s", "committed", "in flight", "adopted", "repeated")
    rows = [
        (i, kill.job, f"{kill.after_s:.2f}", kill.moment, kill.victim, f"{kill.gone_at - kill.sent_at:.2f}",
         kill.n_clips, kill.n_in_flight, kill.n_adopted, kill.n_repeated)
        for i, kill in enumerate(kills, start=1)
    ]  # fmt: skip
    return "\n".join("  ".join(f"{cell:>9}" for cell in row) for row in (titles, *rows))
