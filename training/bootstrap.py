"""How sure a figure is: 95 % percentile intervals over resampled clips (Efron & Tibshirani 1993, chapter 13)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.metrics import Measure
from training.results import Interval

N_RESAMPLES = 1_000
LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""


def resamples(n_clips: int, seed: int, n_resamples: int = N_RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """How often each clip was drawn, (n_clips,) int64, in each of `n_resamples` draws with replacement."""
    generator = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield np.bincount(generator.integers(0, n_clips, n_clips), minlength=n_clips)


def intervals(measure: Measure, n_clips: int, seed: int, n_resamples: int = N_RESAMPLES) -> dict[str, Interval]:
    """Every metric of `measure` over all clips, with its interval."""
    drawn = [measure(weights) for weights in resamples(n_clips, seed, n_resamples)]
    return {
        name: _interval(value, np.array([figures[name] for figures in drawn])) for name, value in measure(None).items()
    }


def paired_difference(
    better: Measure, other: Measure, metric: str, n_clips: int, seed: int, n_resamples: int = N_RESAMPLES
) -> Interval:
    """`metric` of `better` minus that of `other`, both over the same clips in every resample."""
    drawn = [better(weights)[metric] - other(weights)[metric] for weights in resamples(n_clips, seed, n_resamples)]
    return _interval(better(None)[metric] - other(None)[metric], np.array(drawn))


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(drawn, [LOW, HIGH])
    return Interval(value=value, low=float(low), high=float(high))
