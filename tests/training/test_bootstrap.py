import numpy as np
import pytest

from training.bootstrap import draw, intervals, paired_difference, resamples
from training.metrics import Measure, Values
from training.results import Interval


def share_of(hits: Values) -> Measure:
    return lambda weights=None: {"accuracy": float(np.average(hits, weights=weights))}


def test_resamples_draw_as_many_clips_as_there_are_and_the_same_ones_by_seed() -> None:
    drawn = list(resamples(20, seed=3, n_resamples=5))
    assert [int(weights.sum()) for weights in drawn] == [20] * 5
    np.testing.assert_array_equal(drawn, list(resamples(20, seed=3, n_resamples=5)))
    assert not np.array_equal(drawn, list(resamples(20, seed=4, n_resamples=5)))


def test_the_interval_of_a_share_is_close_to_the_binomial_one() -> None:
    hits = np.arange(400) < 300
    found = intervals(draw(share_of(hits), 400, seed=0))["accuracy"]
    half_width = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - half_width, abs=0.01)
    assert found.high == pytest.approx(0.75 + half_width, abs=0.01)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    n_held = 0
    for trial in range(100):
        found = intervals(draw(share_of(generator.random(100) < 0.7), 100, trial, 200))["accuracy"]
        n_held += found.low <= 0.7 <= found.high
    assert 88 <= n_held <= 100


def test_a_paired_difference_is_surer_than_two_separate_figures() -> None:
    other = np.arange(200) < 120
    better = np.arange(200) < 130
    found = paired_difference(draw(share_of(better), 200, 0), draw(share_of(other), 200, 0), "accuracy")
    assert found.value == pytest.approx(0.05)
    assert 0 < found.low < 0.05 < found.high < 0.1


def test_two_equal_models_differ_by_nothing() -> None:
    hits = np.arange(50) % 3 == 0
    found = paired_difference(draw(share_of(hits), 50, 0), draw(share_of(hits.copy()), 50, 0), "accuracy")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_metric_without_a_figure_has_no_interval_and_a_resample_without_one_does_not_count() -> None:
    def measure(weights: np.ndarray | None = None) -> dict[str, float]:
        share = 1.0 if weights is None or weights[0] else np.nan  # the one clip that has a figure may not be drawn
        return {"never": np.nan, "now and then": share}

    assert intervals(draw(measure, 3, 0)) == {"now and then": Interval(value=1, low=1, high=1)}
