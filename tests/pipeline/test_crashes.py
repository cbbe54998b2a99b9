"""Extractors that take their process down, in every way one can, on a real Dask cluster: that clip fails, no other."""

import ctypes
import os
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import pipeline.execute
import pipeline.extract
from pipeline.batches import cut_batches
from pipeline.cluster import local_cluster
from pipeline.execute import execute
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.limits import TimeLimit
from pipeline.plan import WantedClip, plan_extraction
from storage_schema.streams import StreamSpec
from tests.pipeline.conftest import WAVEFORM

LONGEST = 11_200
"""Samples of the clip that is to blame: 0.7 s at 16 kHz."""

SHORT = TimeLimit(start_s=0.8, per_audio_s=0.1)
"""The time limit where a clip hangs; nothing in these tests takes a tenth of it otherwise."""


def abort():
    os.abort()


def fault():
    ctypes.string_at(0)


def sleep():
    time.sleep(3600)


def sleep_with_the_interpreter_lock():
    ctypes.PyDLL(None).sleep(3600)


def take_all_memory():
    held = []
    while True:
        held.append(np.ones(2**21))  # 16 MB, touched
        time.sleep(0.01)  # a worker is weighed ten times a second


def take_a_second():
    time.sleep(1)


class Fatal:
    """Makes the waveform stream's arrays of zeros, and does `harm` when it meets the clip that is to blame."""

    spec: StreamSpec = WAVEFORM

    def __init__(self, harm):
        self.harm = harm

    def extract(self, waveforms):
        if any(len(waveform) == LONGEST for waveform in waveforms):
            self.harm()
        return [{"samples": np.zeros((self.spec.grid.n_frames(len(w)), 400), np.int16)} for w in waveforms]


def extract_fatally(harm, store_uri, batch, limit):
    """`extract_batch` with the extractor exchanged; called in the worker."""
    pipeline.extract._extractor = lambda _spec: Fatal(harm)
    return extract_batch(store_uri, batch, limit)


@pytest.fixture
def harmful(monkeypatch):
    """Have the workers do this harm with the longest clip."""

    def harmful(harm):
        monkeypatch.setattr(pipeline.execute, "extract_batch", partial(extract_fatally, harm))

    return harmful


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as client:
        yield client


def outcome(receipts):
    """File name to kind, or to ok; every clip has to have exactly one row."""
    rows = [(clip, row) for receipt in receipts for clip in receipt.batch.clips for row in receipt.rows]
    found = {os.path.basename(clip.paths[0]): row for clip, row in rows if clip.clip_id == row.clip_id}
    assert sum(len(receipt.rows) for receipt in receipts) == len(found)
    for name, row in found.items():
        assert row.status == "ok" or name in row.message
    return {name: row.kind or row.status for name, row in found.items()}


def expected(kind):
    return {f"{i}.wav": "ok" for i in range(4)} | {"4.wav": kind}


@pytest.mark.parametrize("harm", [abort, fault])
def test_native_crash_costs_its_clip_only(store, plan, client, harmful, harm):
    harmful(harm)
    assert outcome(list(execute(client, store.uri, cut_batches(plan.streams[0], 1.3)))) == expected("crashed")


@pytest.mark.parametrize("harm", [sleep, sleep_with_the_interpreter_lock])
def test_clip_that_hangs_is_ended_at_its_limit_and_costs_itself_only(store, plan, client, harmful, harm):
    harmful(harm)
    assert outcome(list(execute(client, store.uri, cut_batches(plan.streams[0], 1.3), SHORT))) == expected("timeout")


def test_clip_that_takes_all_memory_costs_itself_only(store, plan, harmful):
    harmful(take_all_memory)
    with local_cluster(1, memory_limit="500 MB") as client:
        assert outcome(list(execute(client, store.uri, cut_batches(plan.streams[0], 1.3)))) == expected("crashed")


def test_batch_that_hung_is_cut_into_single_clips_at_once(store, plan, client, harmful):
    harmful(sleep)
    receipts = list(execute(client, store.uri, cut_batches(plan.streams[0]), SHORT))
    assert [len(receipt.batch.clips) for receipt in receipts] == [1] * 5
    assert outcome(receipts) == expected("timeout")


def test_batch_before_does_not_disarm_the_watch_over_the_next(store, plan, harmful):
    harmful(sleep)
    batches = reversed(list(cut_batches(plan.streams[0], 0.1)))  # the one that hangs comes last
    with local_cluster(1) as client:
        assert outcome(list(execute(client, store.uri, batches, SHORT))) == expected("timeout")


def test_worker_outlives_the_limit_of_a_batch_that_kept_it(store, plan):
    batches = list(cut_batches(plan.streams[0]))
    with local_cluster(1) as client:
        before = client.run(os.getpid)
        assert outcome(list(execute(client, store.uri, batches, SHORT))) == expected("ok")
        time.sleep(1.5 * SHORT.of_clips(batches[0].clips))
        assert client.run(os.getpid) == before


def test_clip_longer_than_its_header_says_gets_the_time_for_its_length(store, plan, client, harmful):
    harmful(take_a_second)
    (batch, *_) = cut_batches(plan.streams[0], 0.1)
    (clip,) = batch.clips
    lie = replace(batch, clips=(replace(clip, duration_s=0.01),))
    limit = TimeLimit(start_s=0.5, per_audio_s=2.0)  # 0.52 s by the header, 1.9 s by the sound
    (receipt,) = execute(client, store.uri, [lie], limit)
    assert [row.status for row in receipt.rows] == ["ok"]


def test_limit_follows_header_and_size_whichever_promises_less():
    clip = WantedClip("0" * 32, ("a.wav",), 5_000, 1, None, "new clip")
    assert TimeLimit(30, 10).of_clips([clip]) == 30 + 10 * 10
    assert TimeLimit(30, 10).of_clips([replace(clip, duration_s=2.0), clip]) == 30 + 10 * (2 + 10)
    assert TimeLimit(30, 10).of_clips([replace(clip, duration_s=1e9)]) == 30 + 10 * 10


def test_run_in_which_every_worker_dies_of_every_clip_ends_with_a_row_each(store, plan, monkeypatch):
    monkeypatch.setattr(pipeline.execute, "extract_batch", end_the_process)
    report = run_extraction(store, plan, n_workers=2, batch_s=0.1)
    assert (report.n_ok, report.n_failed) == ({"waveform": 0}, {"waveform": 5})
    assert {row["kind"] for row in store.snapshot().problems().to_pylist()} == {"crashed"}
    again = plan_extraction(store.snapshot(), [WAVEFORM])
    assert (again.n_wanted, again.n_quarantined) == (0, 5)


def end_the_process(_store_uri, _batch, _limit):
    os._exit(1)
