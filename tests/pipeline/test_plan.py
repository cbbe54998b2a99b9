"""The plan: wanted minus done, and why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.registry import spec_for
from pipeline.batches import count_batches, cut_batches
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import describe_change, plan_extraction, plan_retry, plan_stream
from storage_schema.errors import InputError
from tests.pipeline.conftest import WAVEFORM, outstanding, write_sine

durations = st.lists(st.none() | st.floats(0.001, 400), max_size=60)


def plan_of(lengths_s):
    return plan_stream(WAVEFORM, outstanding(duration_s=lengths_s), len(lengths_s), {})


@given(durations, st.floats(1, 300))
def test_batches_hold_every_clip_once_and_keep_to_their_size(lengths_s, batch_s):
    plan = plan_of(lengths_s)
    batches = list(cut_batches(plan, batch_s))
    assert len(batches) == count_batches(plan, batch_s)
    assert [clip.clip_id for batch in batches for clip in batch.clips] == plan.wanted["clip_id"].to_pylist()
    lengths = [10.0 if clip.duration_s is None else clip.duration_s for batch in batches for clip in batch.clips]
    assert lengths == sorted((10.0 if s is None else s for s in lengths_s), reverse=True)
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
    assert [single.clips for single in batch.singles()] == [(clip,) for clip in batch.clips]


def test_each_cause_has_its_words_and_the_first_that_applies_is_told():
    plan = plan_stream(
        WAVEFORM,
        outstanding(
            failure=[None, "vanished", None, None, None, "extractor"],
            is_lost=[False, False, True, False, False, False],
            other_fingerprint=[None, "aa", "aa", "aa", None, None],
            was_replaced=[False, False, False, True, True, False],
        ),
        10,
        {"aa": "parameter hop 160 -> 400"},
        retried=[f"{1:032x}"],
    )
    assert (plan.n_clips, plan.n_done, plan.n_quarantined, plan.n_wanted) == (10, 4, 1, 5)
    assert plan.reasons == {
        "new clip": 1,
        "earlier failure that may be retried: vanished": 1,
        "lost part": 1,
        "parameter hop 160 -> 400": 1,
        "changed audio": 1,
    }
    assert plan.lost == [f"{2:032x}"]


def test_commonest_reason_is_told_first():
    plan = plan_stream(WAVEFORM, outstanding(is_lost=[False, True, True]), 3, {})
    assert list(plan.reasons.items()) == [("lost part", 2), ("new clip", 1)]


def test_everything_is_new_at_first_and_nothing_is_wanted_afterwards(store, plan):
    (stream,) = plan.streams
    assert (stream.n_clips, stream.n_done, stream.n_wanted) == (5, 0, 5)
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
    (batch,) = cut_batches(again.streams[0])
    assert [clip.paths[0].split("/")[-2] for clip in batch.clips] == ["new"] * 3


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
    assert retried.streams[0].reasons == {"earlier failure that may be retried: undecodable": 1}


def test_clip_whose_file_is_back_is_wanted_again_by_itself(store, plan, audio):
    path = audio / "low" / "0.wav"
    path.rename(audio / "elsewhere")
    run_extraction(store, plan, n_workers=1)
    gone = plan_extraction(store.snapshot(), [WAVEFORM])
    assert (gone.n_wanted, gone.n_quarantined) == (0, 1)
    path.mkdir()  # something of that name, but not the file
    assert plan_extraction(store.snapshot(), [WAVEFORM]).n_wanted == 0
    path.rmdir()
    path.write_bytes(b"another file")
    assert plan_extraction(store.snapshot(), [WAVEFORM]).n_wanted == 0
    path.unlink()
    (audio / "elsewhere").rename(path)
    back = plan_extraction(store.snapshot(), [WAVEFORM])
    assert back.streams[0].reasons == {"earlier failure that may be retried: vanished": 1}
    assert run_extraction(store, back, n_workers=1).is_complete
    assert plan_extraction(store.snapshot(), [WAVEFORM]).n_wanted == 0


def test_retry_wants_what_is_named_among_the_failures_and_nothing_else(store, plan, audio):
    for i in range(2):
        (audio / "low" / f"{i}.wav").unlink()
    run_extraction(store, plan, n_workers=1)
    write_sine(audio / "new.wav")
    ingest(store, "folder", audio)
    snapshot = store.snapshot()
    failed = {p["uri"]: p["clip_id"] for p in snapshot.problems().to_pylist() if p["stage"] == "decode"}
    assert set(failed) == {"low/0.wav", "low/1.wav"}
    retried = plan_retry(snapshot, [(WAVEFORM, [failed["low/1.wav"], "no such clip"])])
    (stream,) = retried.streams
    assert (stream.n_clips, stream.n_done, stream.n_quarantined) == (6, 3, 1)
    assert stream.wanted["clip_id"].to_pylist() == [failed["low/1.wav"]]
