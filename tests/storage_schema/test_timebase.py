"""The laws of the time base, by Hypothesis, and the grids of the design, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_schema.errors import InputError
from storage_schema.timebase import FrameGrid, Span

rates = st.integers(1, 192_000)
hops = st.integers(1, 100_000)
lengths = st.integers(1, 10_000_000)


def test_grids_of_the_design_are_25_ms():
    for rate, hop in ((16_000, 400), (48_000, 1200)):
        assert FrameGrid.from_seconds(rate, 0.025) == FrameGrid(rate, hop)
        assert FrameGrid(rate, hop).frame_rate_hz == 40


def test_hop_that_is_no_whole_number_of_samples_is_refused():
    with pytest.raises(InputError, match=r"1102\.5 samples at 44100 Hz"):
        FrameGrid.from_seconds(44_100, 0.025)


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "400"])
def test_grid_refuses_a_hop_that_is_no_positive_integer(bad):
    with pytest.raises(InputError, match="hop must be a whole number"):
        FrameGrid(16_000, bad)


@given(rates, hops, lengths)
def test_centred_grid_has_one_frame_more_than_whole_hops(rate, hop, n_samples):
    grid = FrameGrid(rate, hop)
    n_frames = grid.n_frames(n_samples)
    assert n_frames == 1 + n_samples // hop
    assert (n_frames - 1) * hop <= n_samples < n_frames * hop  # the last centre is the last one not past the end


@given(rates, hops, lengths)
def test_blocks_grid_covers_every_sample_and_no_more(rate, hop, n_samples):
    n_frames = FrameGrid(rate, hop, "blocks").n_frames(n_samples)
    assert (n_frames - 1) * hop < n_samples <= n_frames * hop


@given(
    hops,
    st.integers(0, 2_000_000),
    st.integers(1, 500_000),
    st.integers(1, 5_000),
    st.sampled_from(["centred", "blocks"]),
)
def test_frames_in_a_span_agree_with_a_slow_search(hop, start, length, n_frames, alignment):
    grid, span = FrameGrid(16_000, hop, alignment), Span(start, start + length)
    found = grid.frames_in(span, n_frames)
    frames = np.arange(n_frames)
    if alignment == "centred":
        inside = frames[(frames * hop >= span.start) & (frames * hop < span.stop)]
    else:
        inside = frames[(frames * hop < span.stop) & ((frames + 1) * hop > span.start)]
    assert len(found) >= 1
    if len(inside):
        assert list(found) == list(inside)
    else:  # the nearest frame, or the last one as a hold
        middle = (span.start + span.stop) / 2
        distance = np.abs(frames * hop - middle) if alignment == "centred" else np.abs(frames * hop - span.start)
        assert distance[found[0]] <= distance.min() + 1


def test_a_second_is_forty_tokens_wherever_it_starts():
    grid = FrameGrid(16_000, 400)
    for k in range(50):
        assert len(grid.frames_in(Span(400 * k, 400 * k + 16_000), 1000)) == 40


@given(st.lists(st.integers(0, 1_000_000), min_size=3, max_size=3), rates, rates)
def test_adjacent_spans_stay_adjacent_at_another_rate(ends, own, other):
    a, b, c = sorted(ends)
    first, second = Span(a, b).at_rate(own, other), Span(b, c).at_rate(own, other)
    assert first.stop == second.start
    assert len(first) + len(second) == len(Span(a, c).at_rate(own, other))


def test_span_that_runs_backwards_is_refused():
    with pytest.raises(InputError, match="runs forward"):
        Span(5, 4)


def test_times_of_frames_in_seconds():
    assert FrameGrid(16_000, 400).centre_s(8) == 0.2
    assert FrameGrid(44_100, 51_200, "blocks").centre_s(0) == pytest.approx(25_600 / 44_100)
