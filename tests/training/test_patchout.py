import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.patchout import patchout
from training.windows import Tokens


def tokens_of(lengths, n_tokens):
    """Windows whose first `lengths[i]` tokens exist; the row of each tells its window and its place."""
    place = np.arange(n_tokens)
    rows = 1_000 * np.arange(len(lengths))[:, None] + place
    mask = place < np.array(lengths)[:, None]
    return Tokens(rows, mask, np.broadcast_to(place * 0.025, rows.shape).astype(np.float32))


@given(
    n_tokens=st.integers(1, 40),
    size=st.integers(1, 6),
    share=st.floats(0, 0.95),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_whole_groups_are_kept_in_order_and_every_window_keeps_some(n_tokens, size, share, lengths, seed) -> None:
    whole = tokens_of([min(length, n_tokens) for length in lengths], n_tokens)
    kept = patchout(whole, size, share, np.random.default_rng(seed))
    for window in range(len(lengths)):
        there = set(np.flatnonzero(whole.mask[window]).tolist())
        rows = kept.rows[window][kept.mask[window]] - 1_000 * window
        assert len(rows) > 0
        assert (np.diff(rows) > 0).all()
        assert set(rows.tolist()) <= there
        for group in set((rows // size).tolist()):  # what is shown of a group is all there is of it
            there = [
                place
                for place in range(group * size, (group + 1) * size)
                if place in np.flatnonzero(whole.mask[window])
            ]
            assert [row for row in rows.tolist() if row // size == group] == there
        np.testing.assert_allclose(kept.times_s[window][kept.mask[window]], rows * 0.025, rtol=1e-6)


def test_the_share_is_left_out_and_each_window_loses_others() -> None:
    whole = tokens_of([200] * 32, 200)
    kept = patchout(whole, 4, 0.5, np.random.default_rng(0))
    assert kept.rows.shape == (32, 100)
    shown = {tuple((kept.rows[i] - 1_000 * i).tolist()) for i in range(32)}
    assert len(shown) == 32


def test_padding_goes_before_sound() -> None:
    whole = tokens_of([20, 200], 200)
    kept = patchout(whole, 4, 0.5, np.random.default_rng(0))
    assert kept.mask.sum(axis=1).tolist() == [20, 100]


def test_nothing_is_left_out_of_a_share_of_nothing() -> None:
    whole = tokens_of([10], 10)
    assert patchout(whole, 4, 0.0, np.random.default_rng(0)) is whole
