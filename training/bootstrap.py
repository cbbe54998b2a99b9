"""How sure a figure is: 95 % percentile intervals over resampled clips (Efron & Tibshirani 1993, chapter 13)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import Measure
from training.results import Interval

N_RESAMPLES = 1_000
LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""


@dataclass(frozen=True)
class Draws:
    """A model's metrics by name: `values` over all clips, `drawn` (n_resamples,) over resamples of them."""

    values: dict[str, float]
    drawn: dict[str, NDArray[np.float64]]


def resamples(n_clips: int, seed: int, n_resamples: int = N_RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """How often each clip was drawn, (n_clips,) int64, in each of `n_resamples` draws with replacement."""
    generator = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield np.bincount(generator.integers(0, n_clips, n_clips), minlength=n_clips)


def draw(measure: Measure, n_clips: int, seed: int, n_resamples: int = N_RESAMPLES) -> Draws:
    """Every metric of `measure` over all clips and over each resample; the same resamples for the same seed."""
    values = measure(None)
    figures = [measure(weights) for weights in resamples(n_clips, seed, n_resamples)]
    return Draws(values, {name: np.array([found[name] for found in figures]) for name in values})


def intervals(draws: Draws) -> dict[str, Interval]:
    """Every metric that has a figure, with its interval."""
    return {name: _interval(value, draws.drawn[name]) for name, value in draws.values.items() if not math.isnan(value)}


def paired_difference(better: Draws, other: Draws, metric: str) -> Interval:
    """`metric` of `better` minus that of `other`; both were drawn with one seed, so that resamples match."""
    return _interval(better.values[metric] - other.values[metric], better.drawn[metric] - other.drawn[metric])


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    """Over the resamples that have a figure: those with no clip of any class, rare but in tiny sets, have none."""
    low, high = np.nanpercentile(drawn, [LOW, HIGH])
    return Interval(value=value, low=float(low), high=float(high))
