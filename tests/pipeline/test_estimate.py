"""Estimates: by history, by a probe on real workers, or said to be unknown."""

import ctypes
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import pipeline.probe
from features.registry import spec_for
from pipeline.batches import cut_batches
from pipeline.estimate import deal, estimate, estimate_by
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import ExtractionPlan, plan_extraction, plan_stream
from pipeline.probe import run_probe
from storage_schema.errors import InputError
from storage_schema.measured import Measured, measure
from tests.features.brought import write_model
from tests.pipeline.conftest import WAVEFORM, outstanding, write_sine

LOGMEL = spec_for("logmel")


def plan_of(lengths_s, spec=WAVEFORM):
    return ExtractionPlan("1-0", (plan_stream(spec, outstanding(duration_s=lengths_s), len(lengths_s), {}),))


def cost(work, n_bytes):
    """A stream that takes `work` seconds and `n_bytes` bytes a second of audio."""
    return Measured(100 * work, 100.0, 100 * n_bytes, 20)


def test_total_is_start_up_and_the_work_dealt_to_the_workers():
    plan = plan_of([10.0] * 48)
    found = estimate_by(plan, {"waveform": cost(0.5, 3000)}, {}, {}, 2, 4.0)
    assert found.streams[0].work_s == pytest.approx(240)
    assert (found.wall_s, found.n_bytes) == (pytest.approx(124), pytest.approx(480 * 3000))
    assert found.is_complete


def test_clips_of_unknown_length_count_as_ten_seconds():
    known, unknown = (
        estimate_by(plan_of([length] * 12), {"waveform": cost(0.5, 3000)}, {}, {}, 1, 0.0) for length in (10.0, None)
    )
    assert known == unknown


def test_one_long_clip_cannot_be_shared_among_workers():
    found = estimate_by(plan_of([3600.0] + [1.0] * 100), {"waveform": cost(0.1, 1)}, {}, {}, 8, 0.0)
    assert found.wall_s == pytest.approx(360)


@pytest.mark.parametrize("lengths_s", [[5.0] * 400, [1.5] * 1024, [600.0, 400.0, 130.0] + [3.0] * 500])
@pytest.mark.parametrize("n_workers", [1, 2, 7])
def test_estimate_is_near_that_of_the_batches_as_they_are_cut(lengths_s, n_workers):
    plan = plan_of(lengths_s)
    found = estimate_by(plan, {"waveform": cost(0.05, 1)}, {}, {}, n_workers, 0.0)
    cut = [0.05 * sum(clip.duration_s for clip in batch.clips) for batch in cut_batches(plan.streams[0])]
    assert found.wall_s == pytest.approx(deal(cut, n_workers), rel=0.1)


def test_history_goes_before_a_probe_and_what_is_known_of_neither_is_unknown():
    streams = [plan_of([10.0] * 10, spec).streams[0] for spec in (WAVEFORM, LOGMEL, spec_for("timbre"))]
    plan = ExtractionPlan("1-0", tuple(streams))
    known = {"waveform": cost(1, 10)}
    found = estimate_by(plan, known, {"waveform": cost(9, 9), "logmel": cost(2, 20)}, {"timbre": "it died"}, 1, 1.0)
    assert [(each.source, each.problem) for each in found.streams] == [
        ("history", None),
        ("probe", None),
        (None, "it died"),
    ]
    assert (found.wall_s, found.n_bytes) == (pytest.approx(301), pytest.approx(3000))
    assert not found.is_complete


def test_plan_that_wants_nothing_costs_nothing_and_probes_nothing(store, plan, monkeypatch):
    run_extraction(store, plan, n_workers=1)
    monkeypatch.setattr(pipeline.probe, "run_probe", lambda *_a, **_k: pytest.fail("a probe was started"))
    snapshot = store.snapshot()
    found = estimate(plan_extraction(snapshot, [WAVEFORM]), snapshot, 2)
    assert (found.wall_s, found.n_bytes, found.is_complete) == (0.0, 0.0, True)


def test_new_clips_of_a_stream_with_history_are_estimated_by_it(store, plan, audio, monkeypatch):
    run_extraction(store, plan, n_workers=1)
    write_sine(audio / "new.wav", 700, 1.0)
    ingest(store, "folder", audio)
    monkeypatch.setattr(pipeline.probe, "run_probe", lambda *_a, **_k: pytest.fail("a probe was started"))
    snapshot = store.snapshot()
    (found,) = estimate(plan_extraction(snapshot, [WAVEFORM]), snapshot, 2).streams
    before = measure(snapshot, "waveform", WAVEFORM.fingerprint)
    assert found.source == "history"
    assert found.work_s == pytest.approx(before.elapsed_s / 2.5)  # for a second of audio, of 2.5 before
    assert found.n_bytes == pytest.approx(before.n_bytes / 2.5)


def test_loading_an_extractor_is_no_part_of_a_clips_time(store, plan, monkeypatch):
    load = pipeline.extract._extractor

    def slowly(spec_json):
        time.sleep(1.0)
        return load(spec_json)

    monkeypatch.setattr("pipeline.extract._extractor", slowly)
    (batch,) = cut_batches(plan.streams[0])
    assert sum(row.elapsed_ms for row in extract_batch(store.uri, batch)) < 1000


def files_below(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_probe_learns_the_bytes_of_a_real_extraction_and_leaves_the_store_alone(store, audio):
    for i in range(20):
        write_sine(audio / "more" / f"{i}.wav", 100 + 50 * i, 2.0)
    ingest(store, "folder", audio)
    (audio / "low" / "0.wav").write_bytes(b"changed, and no sound any more")
    plan = plan_extraction(store.snapshot(), [WAVEFORM, LOGMEL])
    before = files_below(Path(store.uri))
    seen = []
    found = estimate(plan, store.snapshot(), 2, on_progress=lambda *event: seen.append(event))
    assert files_below(Path(store.uri)) == before
    assert [what for what, _, _ in seen] == ["probing waveform"] * 2 + ["probing logmel"] * 2
    assert [each.source for each in found.streams] == ["probe", "probe"]
    assert all(each.work_s > 0 for each in found.streams)
    run_extraction(store, plan, n_workers=2)
    for each, spec in zip(found.streams, (WAVEFORM, LOGMEL), strict=True):
        real = measure(store.snapshot(), spec.stream, spec.fingerprint)
        assert each.n_bytes == pytest.approx(real.n_bytes, rel=0.15)


def extract_or_die(store_uri, batch):
    """Ends its process, as a crash in native code would, for one stream."""
    if batch.spec.stream == "waveform":
        os.abort()
    return extract_batch(store_uri, batch)


def extract_or_hang(store_uri, batch):
    """Never returns and never lets go of the interpreter lock, for one stream."""
    if batch.spec.stream == "logmel":
        ctypes.PyDLL(None).sleep(1000)
    return extract_batch(store_uri, batch)


def streams_of(store):
    return plan_extraction(store.snapshot(), [WAVEFORM, LOGMEL]).streams


def test_stream_whose_clips_kill_the_probe_is_unknown_and_the_next_is_probed(store, monkeypatch):
    monkeypatch.setattr(pipeline.probe, "extract_batch", extract_or_die)
    probe = run_probe(streams_of(store), 1)
    assert probe.problems == {"waveform": "a clip took the probe's process down"}
    assert list(probe.measured) == ["logmel"]


def test_stream_that_hangs_ends_the_probe_at_its_limit(store, monkeypatch):
    monkeypatch.setattr(pipeline.probe, "extract_batch", extract_or_hang)
    probe = run_probe(streams_of(store), 1, limit_s=4)
    assert list(probe.measured) == ["waveform"]
    assert probe.problems == {"logmel": "the probe was ended after 4 s"}


def test_probe_says_what_is_wrong_with_clips_that_cannot_be_tried(store, audio):
    for path in audio.rglob("*.wav"):
        path.unlink()
    probe = run_probe(streams_of(store), 1)
    assert "none of the clips tried was extracted" in probe.problems["waveform"]
    assert "is not there" in probe.problems["waveform"]


def test_weights_that_cannot_be_had_are_a_problem_of_their_stream(store, monkeypatch):
    def offline(_name):
        raise InputError("no network")

    monkeypatch.setattr("pipeline.probe.ensure_weights", offline)
    plan = plan_extraction(store.snapshot(), [spec_for("pitch")])
    probe = run_probe(plan.streams, 1)
    assert (dict(probe.measured), probe.problems) == ({}, {"pitch": "no network"})


def test_a_brought_model_that_is_gone_is_a_problem_of_its_stream(store, monkeypatch, tmp_path):
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "cache"))
    spec = spec_for("clap", {"model": str(write_model(tmp_path / "model"))})
    plan = plan_extraction(store.snapshot(), [spec])
    shutil.rmtree(tmp_path / "cache")
    probe = run_probe(plan.streams, 1)
    assert not probe.measured
    assert "timbrel weights add" in probe.problems["clap"]
    with pytest.raises(InputError, match="timbrel weights add"):
        run_extraction(store, plan, n_workers=1)


def test_clips_too_long_to_try_are_left_out(store, plan, monkeypatch):
    monkeypatch.setattr(pipeline.probe, "_LONGEST_S", 0.45)
    clips = pipeline.probe._drawn_clips(plan.streams[0])
    assert sorted(clip.duration_s for clip in clips) == pytest.approx([0.3, 0.4])
    monkeypatch.setattr(pipeline.probe, "_LONGEST_S", 0.1)
    with pytest.raises(InputError, match="too long to try"):
        pipeline.probe._drawn_clips(plan.streams[0])


def test_clips_drawn_are_spread_over_all_lengths():
    plan = plan_of(np.linspace(1, 100, 5000))
    drawn = [clip.duration_s for clip in pipeline.probe._drawn_clips(plan.streams[0])]
    assert len(set(drawn)) == 500
    assert np.mean(drawn[:40]) == pytest.approx(50, rel=0.25)
    assert (min(drawn), max(drawn)) == (pytest.approx(1, abs=1), pytest.approx(100, abs=1))
