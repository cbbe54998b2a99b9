import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_schema.errors import InputError
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid, Span
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, WAVEFORM, noise
from training.windows import (
    StreamFrames,
    Window,
    clip_ticks,
    cut_tokens,
    random_windows,
    tokens_per_window,
    windows_of,
)

GRIDS = [CENTRED.grid, BLOCKS.grid, PITCH.grid, WAVEFORM.grid, FrameGrid(22_050, 512), FrameGrid(8_000, 8_000)]


def frames_of(spec: StreamSpec, n_seconds: float) -> StreamFrames:
    return StreamFrames.of_clip(spec, noise(spec, n_seconds, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("n_ticks", "starts"),
    [(300, [0]), (1000, [0]), (1500, [0, 500]), (1550, [0, 500]), (1700, [0, 500, 700]), (2000, [0, 500, 1000])],
)
def test_windows_start_every_hop_and_the_last_ends_with_the_clip(n_ticks: int, starts: list[int]) -> None:
    windows = windows_of(7, n_ticks, length=1000, hop=500)
    assert [window.span.start for window in windows] == starts
    assert {len(window.span) for window in windows} == {1000}
    assert {window.clip for window in windows} == {7}


@settings(deadline=None)
@given(n_ticks=st.integers(1, 20_000), length=st.integers(25, 5_000), hop=st.integers(25, 5_000))
def test_windows_leave_at_most_a_short_tail_of_a_clip_unheard(n_ticks: int, length: int, hop: int) -> None:
    windows = windows_of(0, n_ticks, length, min(hop, length))
    heard = np.zeros(n_ticks, bool)
    for window in windows:
        heard[window.span.start : window.span.stop] = True
    assert heard[: n_ticks - length // 10].all()
    assert windows[-1].span.start < n_ticks


@settings(deadline=None)
@given(ticks=st.lists(st.integers(1, 9_000), min_size=1, max_size=20), length=st.integers(25, 3_000))
def test_random_windows_lie_inside_their_clips(ticks: list[int], length: int) -> None:
    clips = np.arange(len(ticks))
    windows = random_windows(clips, np.array(ticks), length, np.random.default_rng(0))
    assert [window.clip for window in windows] == clips.tolist()
    for window, n_ticks in zip(windows, ticks, strict=True):
        assert window.span.stop <= max(n_ticks, length)


@settings(deadline=None)
@given(
    grid=st.sampled_from(GRIDS),
    start=st.integers(0, 12_000),
    length=st.integers(25, 4_000),
    n_seconds=st.floats(0.01, 12),
)
def test_tokens_are_the_frames_of_the_window_each_once_and_in_order(
    grid: FrameGrid, start: int, length: int, n_seconds: float
) -> None:
    spec = StreamSpec("any", "test", 1, grid, (ArraySpec("x", "float32", "1", "frame number"),))
    n_frames = grid.n_frames(max(1, int(n_seconds * grid.sample_rate_hz)))
    frames = StreamFrames.end_to_end(spec, np.array([3, n_frames]), {"x": np.arange(3 + n_frames, dtype=np.float32)})
    span = Span(start, start + length)
    tokens = cut_tokens(frames, [Window(1, span)])
    expected = [3 + i for i in grid.frames_in(span.at_rate(1_000, grid.sample_rate_hz), n_frames)]
    assert tokens.rows.shape == (1, tokens_per_window(grid, length))
    assert tokens.rows[0][tokens.mask[0]].tolist() == expected
    assert ((tokens.rows >= 3) & (tokens.rows < 3 + n_frames)).all()
    times = [grid.centre_s(row - 3) - start / 1_000 for row in expected]
    np.testing.assert_allclose(tokens.times_s[0][tokens.mask[0]], times, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_click_lies_in_the_token_of_each_stream_that_describes_it(grid: FrameGrid) -> None:
    click_s, n_seconds = 3.2, 5.0
    spec = StreamSpec("any", "test", 1, grid, (ArraySpec("x", "float32", "1", "1 where the click is"),))
    n_frames = grid.n_frames(round(n_seconds * grid.sample_rate_hz))
    nearest = int(np.argmin([abs(grid.centre_s(i) - click_s) for i in range(n_frames)]))
    x = np.zeros(n_frames, np.float32)
    x[nearest] = 1
    tokens = cut_tokens(StreamFrames.of_clip(spec, {"x": x}), windows_of(0, 5_000, 1_000, 500))
    half_a_hop_s = grid.hop / grid.sample_rate_hz / 2
    hits = np.argwhere((x[tokens.rows] == 1) & tokens.mask)
    assert len(hits) >= 2
    for window, token in hits:
        assert abs(tokens.times_s[window, token] + 0.5 * window - click_s) <= half_a_hop_s + 1e-4


def test_a_short_clip_is_one_padded_window() -> None:
    frames = frames_of(CENTRED, 0.2)
    tokens = cut_tokens(frames, windows_of(0, clip_ticks(0.2), 1_000, 500))
    assert tokens.rows.shape == (1, 41)
    assert tokens.mask.sum() == 9
    assert tokens.rows.max() == 8


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"descriptors": np.zeros((3, 5), np.float32)},
        {"descriptors": np.zeros((3, 6), np.float64)},
        {"descriptors": np.zeros((0, 6), np.float32)},
        {"embedding": np.zeros((3, 6), np.float32)},
    ],
)
def test_arrays_that_are_not_what_the_spec_says_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="stream timbre"):
        StreamFrames.of_clip(CENTRED, arrays)
