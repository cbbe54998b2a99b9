"""What is garbage goes after its grace; what anybody may still read, or is about to commit, stays."""

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.errors import InputError, StoreError
from storage_schema.files import SCRATCH
from storage_schema.layout import EXTRACTIONS
from storage_schema.parts import Part, list_parts
from storage_schema.upkeep.compact import compact
from storage_schema.upkeep.garbage import collect_garbage
from tests.storage_schema.conftest import (
    TOY,
    clip_id,
    clip_row,
    extract,
    fill,
    keys_below,
    on_every_ground,
    part_of,
    toy_arrays,
)
from tests.storage_schema.upkeep.test_verify import errors, table_files

GOLDEN = Path(__file__).parents[2] / "golden"

NOW, HOUR = timedelta(0), timedelta(hours=1)


def collect(store, grace=NOW, *, dry_run=False):
    return list(collect_garbage(store, grace, dry_run=dry_run))


def make_older(store, key, by=timedelta(hours=3)):
    """As if everything below `key` had been written earlier, which only a disk can be told."""
    for path in [store.files.path(key), *store.files.path(key).rglob("*")]:
        then = path.stat().st_mtime - by.total_seconds()
        os.utime(path, (then, then))


def parts(store):
    return {*list_parts(store.files, "toy", TOY.fingerprint)}


def write_run(store, run_id, snapshot_id):
    with store.new_run(run_id) as folder:
        (folder / "metrics.json").write_text(json.dumps({"provenance": {"snapshot": snapshot_id}}))


@on_every_ground
def test_dry_run_names_what_then_goes_with_its_bytes_and_the_rest_stays(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    fill(store, [0])
    orphan, _ = store.write_part(TOY, {clip_id(1): toy_arrays(1)})
    replaced = fill(store, [2])
    store.requeue("toy", TOY.fingerprint, [clip_id(2)])
    time.sleep(1.1)  # a bucket tells times in whole seconds
    would = collect(store, dry_run=True)
    keys = {garbage.key for garbage in would}
    assert {part_of(store, replaced[0]), Part(store.files, TOY, orphan).key} <= keys
    sizes = {key: sum(len(store.files.read(below)) for below in keys_below(store.files, key)) for key in keys}
    assert all(garbage.n_bytes == (sizes[garbage.key] or garbage.n_bytes) > 0 for garbage in would)
    assert orphan in parts(store)
    assert {garbage.key for garbage in collect(store)} == keys
    assert len(parts(store)) == 1
    assert collect(store) == []
    assert errors(store) == []
    assert store.snapshot().stream("toy").clip_ids == (clip_id(0),)


def test_fresh_part_of_a_writer_stays_and_an_old_one_that_nobody_names_goes(store):
    store.merge_clips([clip_row(i) for i in range(2)])
    old, _ = store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    fresh, _ = store.write_part(TOY, {clip_id(1): toy_arrays(1)})
    make_older(store, Part(store.files, TOY, old).key)
    (gone,) = collect(store, HOUR)
    assert gone.key == Part(store.files, TOY, old).key
    assert parts(store) == {fresh}


def test_old_part_that_a_writer_has_just_made_again_counts_as_fresh(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    first, _ = store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    orphan, _ = store.write_part(TOY, {clip_id(1): toy_arrays(1)})
    for part_id in (first, orphan):
        make_older(store, Part(store.files, TOY, part_id).key)
    assert store.write_part(TOY, {clip_id(0): toy_arrays(0)})[0] == first
    collect(store, HOUR)
    assert parts(store) == {first}


def test_reader_that_pinned_a_snapshot_within_the_grace_keeps_its_bytes(store):
    store.merge_clips([clip_row(i) for i in range(4)])
    for i in range(4):
        fill(store, [i])
    pinned = store.snapshot()
    list(compact(store.files, None, lambda *_: None))
    for part_id in parts(store):
        make_older(store, Part(store.files, TOY, part_id).key)
    assert collect(store, HOUR) == []
    again = store.snapshot(pinned.id).stream("toy").read_all()
    np.testing.assert_array_equal(again.arrays["salience"], [i for i in range(4) for _ in range(3 + i)])
    collect(store)
    assert len(parts(store)) == 1
    assert len(table_files(store, EXTRACTIONS)) == 1
    assert errors(store) == []


def test_snapshots_of_finished_runs_are_kept_for_ever(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    (row,) = fill(store, [0])
    kept = store.snapshot().id
    write_run(store, "a", kept)
    (other,) = fill(store, [1])
    lost = store.snapshot().id
    store.requeue("toy", TOY.fingerprint, [clip_id(0), clip_id(1)])
    fill(store, [2])
    list(compact(store.files, None, lambda *_: None))
    collect(store)
    assert row.part_id in parts(store)
    assert store.snapshot(kept).stream("toy").read(clip_id(0))["salience"].tolist() == [0, 0, 0]
    assert other.part_id not in parts(store)
    with pytest.raises(StoreError, match=r"can no longer be read as it was: .*; `timbrel gc` deletes"):
        store.snapshot(lost).stream("toy")


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"provenance": {"snapshot": "newest"}}'])
def test_run_that_does_not_say_its_snapshot_stops_it_before_anything_is_deleted(store, content):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    store.requeue("toy", TOY.fingerprint, [clip_id(0)])
    write_run(store, "a", "1-1")
    store.files.write("runs/a/metrics.json", content)
    before = parts(store)
    with pytest.raises(StoreError, match="run a does not say which snapshot it needs"):
        collect(store)
    assert parts(store) == before


def test_table_file_that_cannot_be_read_stops_it_before_a_part_is_deleted(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    (rows,) = table_files(store, EXTRACTIONS)
    store.files.write(rows, b"PAR1")
    with pytest.raises(StoreError, match="nobody knows which parts it names"):
        collect(store)
    assert len(parts(store)) == 1


def test_leftovers_of_killed_commands_go_unless_something_in_them_is_fresh(store):
    for name in ("old", "busy"):
        store.files.path(f"{SCRATCH}/{name}/deep").mkdir(parents=True)
        store.files.path(f"{SCRATCH}/{name}/deep/file").write_bytes(b"12345")
    make_older(store, SCRATCH)
    store.files.path(f"{SCRATCH}/busy/deep/file").write_bytes(b"6")
    (gone,) = collect(store, HOUR)
    assert (gone.key, gone.n_bytes) == (f"{SCRATCH}/old", 5)
    assert [entry.name for entry in store.files.entries(SCRATCH)] == ["busy"]


def test_part_lost_in_a_race_is_outstanding_and_made_again(store):
    store.merge_clips([clip_row(i) for i in range(2)])
    part_id, entries = store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    (row,) = fill(store, [1])
    collect(store)  # without any grace, the writer loses
    store.commit([replace(row, clip_id=clip_id(0), part_id=part_id, n_rows=entries[0].n_rows)])
    (lost,) = store.snapshot().outstanding("toy", TOY.fingerprint).to_pylist()
    assert lost["is_lost"]
    store.requeue("toy", TOY.fingerprint, [clip_id(0)])
    extract(store)
    assert errors(store) == []


def test_writers_commit_while_garbage_is_collected_and_lose_nothing(store):
    store.merge_clips([clip_row(i) for i in range(8)])
    fill(store, [0])
    failures = []

    def write():
        try:
            for i in range(1, 8):
                fill(store, [i])
                store.requeue("toy", TOY.fingerprint, [clip_id(0)]) if i == 5 else None
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        collect(store, HOUR)
    writer.join()
    assert failures == []
    assert errors(store) == []
    assert store.snapshot().stream("toy").clip_ids == tuple(map(clip_id, range(1, 8)))


def test_grace_that_the_tables_do_not_remember_is_refused(store):
    with pytest.raises(InputError, match="more than 7 days"):
        collect(store, timedelta(days=8))


def test_parts_of_a_store_of_schema_version_1_stay_and_its_orphans_go(tmp_path):
    shutil.copytree(GOLDEN / "store_v1", tmp_path / "store")
    store = open_store(tmp_path / "store")
    before = parts(store)
    orphan, _ = store.write_part(TOY, {clip_id(5): toy_arrays(5)})
    make_older(store, "streams")
    assert [found.key for found in collect(store, HOUR)] == [Part(store.files, TOY, orphan).key]
    assert parts(store) == before
    assert store.snapshot().stream("toy").read_all().offsets[-1] == 12
