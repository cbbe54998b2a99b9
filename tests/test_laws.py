"""The four laws that everything rests on, by Hypothesis.

Frames and times round-trip; parts tile their clips; a blockwise extraction equals a whole one; the plan after an
extraction is empty. The laws of smaller things stand beside their own tests.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import logmel, waveform
from features.pitch import crepe
from features.pitch.spec import pitch_spec
from features.registry import load_extractor, spec_for
from pipeline.batches import cut_batches
from pipeline.extract import extract_batch
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.timebase import FrameGrid, Span
from tests.bad_input.cases import encoded
from tests.storage_schema.conftest import clip_row

WAVEFORM = spec_for("waveform")

slow = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Frames and times


@given(
    grid=st.builds(FrameGrid, st.integers(1, 192_000), st.integers(1, 100_000), st.sampled_from(["centred", "blocks"])),
    n_samples=st.integers(1, 10_000_000),
    data=st.data(),
)
def test_the_time_of_a_frame_leads_back_to_the_frame(grid, n_samples, data):
    n_frames = grid.n_frames(n_samples)
    frame = data.draw(st.integers(0, n_frames - 1))
    sample = int(grid.centre_s(frame) * grid.sample_rate_hz + 1e-3)  # a centre between two samples is in the earlier
    assert list(grid.frames_in(Span(sample, sample + 1), n_frames)) == [frame]


@given(
    start=st.integers(0, 10**9),
    length=st.integers(0, 10**9),
    own=st.integers(1, 192_000),
    other=st.integers(1, 192_000),
)
def test_a_span_comes_back_from_another_rate_less_than_a_sample_of_that_rate_early(start, length, own, other):
    span = Span(start, start + length)
    back = span.at_rate(own, other).at_rate(other, own)
    for before, after in ((span.start, back.start), (span.stop, back.stop)):
        assert 0 <= before - after <= -(-own // other)
    if other % own == 0:
        assert back == span


# Parts


@settings(slow, max_examples=6)
@given(
    parts=st.lists(
        st.lists(st.one_of(st.integers(1, 40), st.integers(1_000, 2_100)), min_size=1, max_size=40),
        min_size=1,
        max_size=3,
    )
)
def test_parts_tile_their_clips_whatever_their_lengths(parts):
    spec = spec_for("waveform", {"hop": 2})
    ids = (f"{i:032x}" for i in range(1, 1_000))
    random = np.random.default_rng(0)
    clips = [
        {next(ids): {"samples": random.integers(-32_767, 32_767, (n, 2)).astype(np.int16)} for n in lengths}
        for lengths in parts
    ]
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder, "store"), create=True)
        for part, lengths in zip(clips, parts, strict=True):
            _, entries = store.write_part(spec, part)
            assert [entry.clip_id for entry in entries] == list(part)
            assert [entry.n_rows for entry in entries] == lengths
            assert [entry.first_row for entry in entries] == [0, *np.cumsum(lengths)[:-1]]
        store.merge_clips(clip_row(int(clip_id, 16)) for part in clips for clip_id in part)
        assert store.recover(spec) == sum(map(len, parts))  # by what the parts say of themselves
        reader = store.snapshot().stream("waveform")
        for part in clips:
            found = reader.read_all(list(part))
            assert np.array_equal(
                found.arrays["samples"], np.concatenate([arrays["samples"] for arrays in part.values()])
            )
            assert list(found.n_frames) == [len(arrays["samples"]) for arrays in part.values()]
            for clip_id, arrays in part.items():
                assert np.array_equal(reader.read(clip_id)["samples"], arrays["samples"])


# Blocks


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, n_samples).astype(np.float32)


ALL_AT_ONCE = 99_999


def extracted_by(extractor, module, name, block, clips):
    """What comes of the clips when `module.name`, the number of frames worked on at once, is `block`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, block)
        return extractor.extract(clips)


@slow
@given(n_samples=st.integers(1, 30_000), block=st.integers(1, 100))
def test_waveform_frames_in_blocks_are_the_whole_ones(n_samples, block):
    extractor = load_extractor(WAVEFORM)
    (blockwise,) = extracted_by(extractor, waveform, "_FRAMES_AT_A_TIME", block, [noise(n_samples)])
    (whole,) = extracted_by(extractor, waveform, "_FRAMES_AT_A_TIME", ALL_AT_ONCE, [noise(n_samples)])
    assert np.array_equal(blockwise["samples"], whole["samples"])


@pytest.fixture(scope="module")
def log_mel():
    return load_extractor(spec_for("logmel"))


@slow
@given(n_samples=st.integers(1, 30_000), block=st.integers(1, 100))
def test_log_mel_in_blocks_is_the_whole_one_to_a_step_of_float16(n_samples, block, log_mel):
    (blockwise,) = extracted_by(log_mel, logmel, "_FRAMES_AT_A_TIME", block, [noise(n_samples)])
    (whole,) = extracted_by(log_mel, logmel, "_FRAMES_AT_A_TIME", ALL_AT_ONCE, [noise(n_samples)])
    found, expected = blockwise["logmel"], whole["logmel"]
    # A matrix product of another height may round differently in its last bit, and that may tip a float16 over.
    assert np.all(np.abs(found.astype(np.float32) - expected.astype(np.float32)) <= np.spacing(np.abs(expected)))


@settings(slow, max_examples=6)
@given(n_samples=st.integers(1, 12_000), block=st.integers(1, 8))
def test_timbre_in_blocks_is_the_whole_one(n_samples, block):
    from features.timbre import essentia

    extractor = load_extractor(spec_for("timbre"))
    (blockwise,) = extracted_by(extractor, essentia, "BLOCK_FRAMES", block, [noise(n_samples)])
    (whole,) = extracted_by(extractor, essentia, "BLOCK_FRAMES", ALL_AT_ONCE, [noise(n_samples)])
    assert np.array_equal(blockwise["descriptors"], whole["descriptors"])


class PitchWithoutWeights(crepe.CrepePitch):
    """CREPE's way through clips and blocks, around a network that is a function of each frame alone."""

    def __init__(self):
        self.spec = pitch_spec()
        self._decode = crepe._DECODERS["local_average"]

    def salience(self, frames):
        return np.abs(frames[:, 300:660])


@slow
@given(lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=6), block=st.integers(1, 70))
def test_pitch_in_blocks_that_clips_share_is_that_of_each_clip_whole(lengths, block):
    extractor = PitchWithoutWeights()
    clips = [noise(n, seed) for seed, n in enumerate(lengths)]
    together = extracted_by(extractor, crepe, "FRAMES_PER_BATCH", block, clips)
    for clip, found in zip(clips, together, strict=True):
        (alone,) = extracted_by(extractor, crepe, "FRAMES_PER_BATCH", 999, [clip])
        assert all(np.array_equal(found[name], alone[name]) for name in ("salience", "f0_hz", "periodicity"))


# Plans

KINDS = {
    "a tone": encoded(0.5 * np.sin(np.arange(4_000))),
    "another tone": encoded(0.5 * np.sin(0.3 * np.arange(700))),
    "the same tone in stereo": encoded(np.tile(0.5 * np.sin(np.arange(4_000))[:, None], 2)),
    "one sample": encoded(np.array([0.5])),
    "no sample": encoded(np.zeros((0, 1))),
    "nothing": b"",
    "text": b"no audio",
    "infinity": encoded(np.full(99, np.inf), subtype="FLOAT"),
}
"""Two files of one kind have the same bytes."""


@slow
@given(
    kinds=st.lists(st.sampled_from([*KINDS, "a dangling link", "a folder"]), min_size=1, max_size=8),
    batch_s=st.floats(0.01, 1),
)
def test_the_plan_after_an_extraction_is_empty(kinds, batch_s):
    with TemporaryDirectory() as name:
        audio = Path(name, "audio")
        audio.mkdir()
        for i, kind in enumerate(kinds):
            path = audio / f"{i}.wav"
            if kind == "a folder":
                path.mkdir()
            elif kind == "a dangling link":
                path.symlink_to("nowhere")
            else:
                path.write_bytes(KINDS[kind])
        store = open_store(Path(name, "store"), create=True)
        ingest(store, "folder", audio)
        (before,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
        for batch in cut_batches(before, batch_s):
            store.commit(extract_batch(store.uri, batch))
        (after,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
        assert not after.n_wanted
        assert before.n_clips == after.n_clips == len({kind for kind in kinds if kind in KINDS})
        assert after.n_done + after.n_quarantined == after.n_clips
        assert after.n_quarantined == len({*kinds} & {"no sample", "nothing", "text", "infinity"})
        (again,) = plan_extraction(store.snapshot(), [WAVEFORM], retry_failed=True).streams
        assert again.n_wanted == after.n_quarantined
        assert ingest(store, "folder", audio).n_unchanged == len(kinds)
