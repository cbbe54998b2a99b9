"""Frames are compared with a loop that reads one sample at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.framing import centred_frames, frame_blocks
from storage_schema.errors import InputError
from storage_schema.timebase import FrameGrid


def frames_sample_by_sample(waveform, grid, length):
    frames = np.zeros((grid.n_frames(len(waveform)), length), np.float32)
    for i in range(len(frames)):
        for j in range(length):
            position = i * grid.hop - length // 2 + j
            if 0 <= position < len(waveform):
                frames[i, j] = waveform[position]
    return frames


@given(n_samples=st.integers(1, 60), hop=st.integers(1, 25), length=st.integers(1, 20))
def test_frames_hold_the_samples_around_their_centre_and_zeros_beyond_the_clip(n_samples, hop, length):
    waveform = np.arange(1, n_samples + 1, dtype=np.float32)
    grid = FrameGrid(16_000, hop)
    assert np.array_equal(centred_frames(waveform, grid, length), frames_sample_by_sample(waveform, grid, length))


@given(n_samples=st.integers(1, 200), hop=st.integers(1, 40), length=st.integers(1, 50), block=st.integers(1, 12))
def test_frames_cut_in_blocks_equal_frames_cut_at_once(n_samples, hop, length, block):
    waveform = np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)
    grid = FrameGrid(16_000, hop)
    blocks = [
        centred_frames(waveform, grid, length, first, stop)
        for first, stop in frame_blocks(grid.n_frames(n_samples), block)
    ]
    assert all(len(frames) <= block for frames in blocks)
    assert np.array_equal(np.concatenate(blocks), centred_frames(waveform, grid, length))


def test_writing_to_frames_leaves_the_waveform_alone():
    waveform = np.ones(2_000, np.float32)
    centred_frames(waveform, FrameGrid(16_000, 400), 1024)[:] = 0
    assert waveform.all()


@pytest.mark.parametrize(("first", "stop"), [(-1, 2), (0, 7), (4, 3), (6, 6)])
def test_frames_that_the_clip_does_not_have_are_refused(first, stop):
    with pytest.raises(InputError, match=r"\[0, 6\)"):
        centred_frames(np.zeros(2_000, np.float32), FrameGrid(16_000, 400), 1024, first, stop)


def test_a_grid_of_blocks_is_refused():
    with pytest.raises(InputError, match="blocks"):
        centred_frames(np.zeros(2_000, np.float32), FrameGrid(16_000, 400, "blocks"), 1024)
