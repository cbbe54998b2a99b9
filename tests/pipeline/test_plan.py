"""The plan: wanted minus done, and why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.registry import spec_for
from pipeline.batches import cut_batches
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import StreamPlan, WantedClip, describe_change, plan_extraction
from storage_schema.errors import InputError
from tests.pipeline.conftest import WAVEFORM, write_sine

durations = st.lists(st.none() | st.floats(0.001, 400), max_size=60)


def plan_of(lengths_s):
    clips = [WantedClip(f"{i:032x}", ("x.wav",), 1, 1, s, "new clip") for i, s in enumerate(lengths_s)]
    return StreamPlan(WAVEFORM, len(clips), 0, tuple(clips))


@given(durations, st.floats(1, 300))
def test_batches_hold_every_clip_once_and_keep_to_their_size(lengths_s, batch_s):
    plan = plan_of(lengths_s)
    batches = cut_batches(plan, batch_s)
    assert sorted(clip.clip_id for batch in batches for clip in batch.clips) == [c.clip_id for c in plan.wanted]
    for batch in batches:
        total = sum(10.0 if clip.duration_s is None else clip.duration_s for clip in batch.clips)
        assert total <= batch_s + 1e-6 or len(batch.clips) == 1


@given(st.lists(st.floats(0.1, 30), min_size=2, max_size=30))
def test_halves_of_a_batch_are_the_batch(lengths_s):
    (batch,) = cut_batches(plan_of(lengths_s), 1e9)
    first, second = batch.halves()
    assert first.clips
    assert second.clips
    assert first.clips + second.clips == batch.clips


def test_everything_is_new_at_first_and_nothing_is_wanted_afterwards(store, plan):
    (stream,) = plan.streams
    assert (stream.n_clips, stream.n_done, len(stream.wanted)) == (5, 0, 5)
    assert stream.reasons == {"new clip": 5}
    assert abs(stream.audio_s - 2.5) < 1e-6
    report = run_extraction(store, plan, n_workers=1)
    assert report.is_complete
    again = plan_extraction(store.snapshot(), [WAVEFORM])
    assert again.n_wanted == 0
    assert again.streams[0].n_done == 5
    assert run_extraction(store, again).n_ok == {"waveform": 0}


def test_clip_that_failed_before_keeps_the_report_incomplete(store, plan, audio):
    (audio / "low" / "0.wav").unlink()
    report = run_extraction(store, plan, n_workers=1)
    assert (report.n_failed, report.n_quarantined) == ({"waveform": 1}, {"waveform": 0})
    again = run_extraction(store, plan_extraction(store.snapshot(), [WAVEFORM]))
    assert (again.n_failed, again.n_quarantined) == ({"waveform": 0}, {"waveform": 1})
    assert not again.is_complete


def test_stream_named_twice_is_refused(store):
    with pytest.raises(InputError, match="stream waveform is asked for more than once"):
        plan_extraction(store.snapshot(), [WAVEFORM, spec_for("waveform", {"hop": 200})])


def test_only_new_clips_are_wanted_after_files_were_added(store, plan, audio):
    run_extraction(store, plan, n_workers=1)
    for i in range(3):
        write_sine(audio / "new" / f"{i}.wav", 1000 + i)
    ingest(store, "folder", audio)
    again = plan_extraction(store.snapshot(), [WAVEFORM])
    assert [clip.paths[0].split("/")[-2] for clip in again.streams[0].wanted] == ["new"] * 3


def test_changed_parameter_wants_that_stream_only_and_says_so(store, plan):
    run_extraction(store, plan, n_workers=1)
    changed = spec_for("waveform", {"hop": 200})
    again = plan_extraction(store.snapshot(), [changed])
    assert again.streams[0].reasons == {"parameter hop 400 -> 200": 5}


def test_changes_are_told_in_words():
    tiny = spec_for("pitch")
    assert describe_change(tiny, spec_for("pitch", {"model": "full"})) == "parameter model tiny -> full"
    assert describe_change(tiny, spec_for("pitch", {"hop": 160})) == "parameter hop 400 -> 160"
    assert describe_change(tiny, replace(tiny, version=9)) == f"extractor version {tiny.version} -> 9"
    retrained = replace(tiny, weights=dict.fromkeys(tiny.weights, "f" * 64))
    assert describe_change(tiny, retrained) == f"weights crepe-tiny {tiny.weights['crepe-tiny'][:8]} -> ffffffff"
    assert describe_change(None, tiny) == "made with another fingerprint"


def test_failed_clips_are_left_alone_until_asked_for(store, audio):
    (audio / "low" / "0.wav").write_bytes(b"no sound at all")
    ingest(store, "folder", audio)
    report = run_extraction(store, plan_extraction(store.snapshot(), [WAVEFORM]), n_workers=1)
    assert (report.n_ok, report.n_failed) == ({"waveform": 4}, {"waveform": 1})
    assert not report.is_complete
    again = plan_extraction(store.snapshot(), [WAVEFORM])
    assert (again.n_wanted, again.n_quarantined) == (0, 1)
    retried = plan_extraction(store.snapshot(), [WAVEFORM], retry_failed=True)
    assert retried.streams[0].reasons == {"earlier failure: undecodable": 1}
