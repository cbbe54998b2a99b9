"""Batches on a real Dask cluster: nothing is lost when workers die, and what stops early is cancelled."""

import contextlib
import logging
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import KilledWorker

import pipeline.execute
import pipeline.extraction
from pipeline.batches import cut_batches
from pipeline.cluster import local_cluster
from pipeline.commit import commit_receipts
from pipeline.execute import Receipt, execute
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.plan import plan_extraction
from storage_schema.parts import Part, read_index, read_rows
from tests.pipeline.conftest import WAVEFORM


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as client:
        yield client


def extract_or_die(store_uri, batch, limit):
    """Kills its own process, as a crash in native code would, where the longest clip is in the batch."""
    if any(clip.duration_s > 0.65 for clip in batch.clips):
        os.kill(os.getpid(), signal.SIGKILL)
    return extract_batch(store_uri, batch, limit)


def test_clip_that_kills_its_worker_costs_that_clip_only(store, plan, client, monkeypatch):
    monkeypatch.setattr(pipeline.execute, "extract_batch", extract_or_die)
    batches = cut_batches(plan.streams[0])
    rows = [row for receipt in execute(client, store.uri, batches) for row in receipt.rows]
    assert len({row.clip_id for row in rows}) == len(rows) == 5
    (culprit,) = [row for row in rows if row.status == "failed"]
    assert "4.wav" in culprit.message
    assert culprit.kind == "crashed"
    assert "took its worker process down" in culprit.message


def test_clips_that_wait_beside_a_killer_are_not_taken_for_it(store, plan, monkeypatch):
    monkeypatch.setattr(pipeline.execute, "extract_batch", extract_or_die)
    batches = list(cut_batches(plan.streams[0], 0.1))
    assert [len(batch.clips) for batch in batches] == [1] * 5
    with local_cluster(1) as client:  # all that is in flight waits on the worker that dies
        receipts = list(execute(client, store.uri, batches))
    assert sorted(row.status for receipt in receipts for row in receipt.rows) == ["failed"] + ["ok"] * 4


def test_cluster_says_nothing_where_another_program_has_set_up_logging(caplog, monkeypatch):
    """Prefect does: it puts a handler on the root logger, and Dask's everyday news would fill the terminal."""
    monkeypatch.setattr(logging.getLogger("distributed"), "propagate", True)
    logging.getLogger("distributed").setLevel(logging.INFO)
    with local_cluster(1):
        pass
    assert [record.name for record in caplog.records if record.name.startswith("distributed")] == []


def test_interruption_of_the_whole_process_group_leaves_it_to_the_parent_to_end_the_workers(client):
    ignored = client.run(lambda: signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    assert list(ignored.values()) == [True, True]


def test_error_in_a_batch_is_raised_once_and_printed_by_no_worker(capfd):
    with local_cluster(1) as client, pytest.raises(ZeroDivisionError):  # its worker's stderr is the one captured
        client.submit(lambda: 1 / 0, pure=False).result()
    assert capfd.readouterr().err == ""


def test_store_filled_by_two_workers_is_that_of_one_process(store, plan, client):
    list(commit_receipts(store, execute(client, store.uri, cut_batches(plan.streams[0], 0.5))))
    parallel = store.snapshot().stream("waveform").read_all()
    (batch,) = cut_batches(plan.streams[0])
    alone = {row.clip_id: row for row in extract_batch(store.uri, batch)}
    part = Part(store.files, WAVEFORM, next(iter(alone.values())).part_id)
    index = read_index(part)
    for entry, arrays in zip(index, read_rows(part, ["samples"], index), strict=True):
        np.testing.assert_array_equal(parallel.clip(entry.clip_id)["samples"], arrays["samples"])


def test_batches_are_drawn_as_workers_become_free(store, plan, client):
    drawn = []

    def endless():
        (batch, *_) = cut_batches(plan.streams[0], 0.1)
        while True:
            drawn.append(batch)
            yield batch

    receipts = execute(client, store.uri, endless())
    next(receipts)
    receipts.close()
    assert 1 <= len(drawn) <= 5  # two workers, two batches each, and one for the batch that came back


def test_commits_into_a_slow_catalogue_come_less_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("pipeline.commit.time", SimpleNamespace(monotonic=lambda: now[0]))
    commits = []

    class SlowStore:
        def commit(self, rows):
            commits.append((now[0], len(rows)))
            now[0] += 1.0

    def receipts():
        for _ in range(60):
            now[0] += 1.0
            yield Receipt(None, ["row"])

    assert len(list(commit_receipts(SlowStore(), receipts(), every_s=2.0))) == 60
    assert [at for at, _ in commits] == [2.0, 53.0, 62.0]  # fifty times a second's commit, then the rest
    assert sum(n for _, n in commits) == 60


def test_receipts_that_came_before_an_interruption_are_committed(store, plan, client):
    def interrupted():
        for n, receipt in enumerate(execute(client, store.uri, cut_batches(plan.streams[0], 0.1))):
            if n == 2:
                raise KeyboardInterrupt
            yield receipt

    with pytest.raises(KeyboardInterrupt):
        list(commit_receipts(store, interrupted(), every_s=1e9))
    (coverage,) = store.snapshot().coverage()
    assert coverage.n_ok == 2


def test_receipts_are_committed_when_whoever_watches_raises(store, plan):
    def watch(progress):
        if progress.n_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extraction(store, plan, n_workers=1, on_stream=watch)
    (coverage,) = store.snapshot().coverage()
    assert coverage.n_ok == 5


def test_batches_of_a_run_that_was_killed_are_adopted_and_not_computed_again(store, plan):
    first, *rest = cut_batches(plan.streams[0], 0.5)
    extract_batch(store.uri, first)  # whole, and nobody lived to commit it
    seen = []
    report = run_extraction(store, plan, n_workers=1, on_stream=seen.append)
    n_rest = sum(len(batch.clips) for batch in rest)
    assert report.n_adopted == {"waveform": len(first.clips)}
    assert report.n_ok == {"waveform": n_rest}
    assert [(each.n_done, each.n_total) for each in (seen[0], seen[-1])] == [(0, n_rest), (n_rest, n_rest)]
    (coverage,) = store.snapshot().coverage()
    assert coverage.n_ok == 5


def test_run_that_finds_all_its_parts_written_starts_no_worker(store, plan, monkeypatch):
    for batch in cut_batches(plan.streams[0], 0.5):
        extract_batch(store.uri, batch)
    monkeypatch.setattr(pipeline.extraction, "open_cluster", lambda *_: pytest.fail("a cluster was started"))
    report = run_extraction(store, plan)
    assert (report.n_adopted, report.n_ok) == ({"waveform": 5}, {"waveform": 0})
    assert report.is_complete


def test_lost_part_is_made_again(store, plan):
    run_extraction(store, plan, n_workers=1, batch_s=0.5)
    (lost, *_) = store.snapshot().part_ids("waveform", WAVEFORM.fingerprint)
    (folder,) = Path(store.uri).rglob(f"{lost}.zarr")
    shutil.rmtree(folder)
    again = plan_extraction(store.snapshot(), [WAVEFORM])
    n_lost = again.n_wanted
    assert again.streams[0].reasons == {"lost part": n_lost}
    assert 0 < n_lost < 5
    report = run_extraction(store, again, n_workers=1)
    assert report.n_ok == {"waveform": n_lost}
    assert len(store.snapshot().stream("waveform").read_all().clip_ids) == 5


def test_progress_ends_at_the_total(store, plan):
    seen = []
    run_extraction(store, plan, n_workers=1, batch_s=0.5, on_stream=seen.append)
    assert [(each.stream, each.n_done, each.n_total) for each in (seen[0], seen[-1])] == [
        ("waveform", 0, 5),
        ("waveform", 5, 5),
    ]
    assert (seen[0].left_s, seen[-1].left_s) == (None, 0)
    assert seen[-1].audio_s == pytest.approx(2.5, abs=0.01)
    assert len(seen) > 3


def extract_noted(notes, store_uri, batch, limit):
    """`extract_batch`, which leaves a line wherever it is called."""
    with notes.open("a") as file:
        file.write("begun\n")
    return extract_batch(store_uri, batch, limit)


def ask(client):
    """The number of the worker process, None where it died of the question, being about to die."""
    with contextlib.suppress(KilledWorker):
        return client.submit(os.getpid, pure=False).result(timeout=60)


def test_batch_that_was_received_is_not_done_again_when_its_worker_dies(store, plan, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline.execute, "extract_batch", partial(extract_noted, tmp_path / "begun"))
    with local_cluster(1) as client:
        receipts = execute(client, store.uri, cut_batches(plan.streams[0]))
        assert len(next(receipts).rows) == 5  # and it stands here, as it does while receipts are committed
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        while ask(client) in (None, pid):  # until another stands in its place, which would do the work first
            pass
        assert list(receipts) == []
    assert (tmp_path / "begun").read_text() == "begun\n"
