"""The metric that decides, over all resamples of clips at once.

A table of robustness has hundreds of figures, each with a paired interval; one resample at a time, as
`training.metrics` measures them, a multi-label table would take an hour.
"""

import numpy as np
from numpy.typing import NDArray

from training.bootstrap import Draws, resamples
from training.metrics import HEADLINE
from training.recipe import Task

BLOCK_COUNTS = 2**22
"""Counts looked at together, over resamples and clips: 32 MB."""

Counts = NDArray[np.int64]


def draw_counts(n_clips: int, seed: int) -> Counts:
    """How often each clip counts, (n_resamples, n_clips): the same resamples that `training.bootstrap` draws."""
    return np.stack(list(resamples(n_clips, seed)))


def headline_draws(
    task: Task, targets: NDArray[np.float32], probabilities: NDArray[np.float32], counts: Counts
) -> Draws:
    """The headline metric of the task over all clips, and over each resample; NaN where no class has a figure.

    targets, probabilities: (n_clips, n_labels). counts: (n_resamples, n_clips).
    """
    once = np.ones((1, len(targets)), np.int64)
    measure = _accuracies if task == "single_label" else _mean_average_precisions
    step = max(1, BLOCK_COUNTS // len(targets))
    drawn = [measure(targets, probabilities, counts[start : start + step]) for start in range(0, len(counts), step)]
    name = HEADLINE[task]
    return Draws({name: float(measure(targets, probabilities, once)[0])}, {name: np.concatenate(drawn)})


def _accuracies(
    targets: NDArray[np.float32], probabilities: NDArray[np.float32], counts: Counts
) -> NDArray[np.float64]:
    is_right = targets.argmax(axis=1) == probabilities.argmax(axis=1)
    shares: NDArray[np.float64] = (counts @ is_right.astype(np.int64)) / counts.sum(axis=1)
    return shares


def _mean_average_precisions(
    targets: NDArray[np.float32], probabilities: NDArray[np.float32], counts: Counts
) -> NDArray[np.float64]:
    """As `training.metrics.average_precisions`, averaged over the classes that a resample has."""
    total, n_known = np.zeros(len(counts)), np.zeros(len(counts))
    for wanted, scores in zip(targets.T, probabilities.T, strict=True):
        order = np.argsort(-scores, kind="stable")
        ends = np.append(scores[order][1:] != scores[order][:-1], True)  # clips of equal probability go together
        ranked = counts[:, order]
        hits = np.cumsum(ranked * (wanted[order] > 0), axis=1)[:, ends]
        seen = np.cumsum(ranked, axis=1)[:, ends]
        gained = np.diff(hits, axis=1, prepend=0)
        precision = np.divide(hits, seen, out=np.zeros(hits.shape), where=seen > 0)
        n_hits = hits[:, -1]
        is_known = n_hits > 0
        total += np.divide((gained * precision).sum(axis=1), n_hits, out=np.zeros(len(counts)), where=is_known)
        n_known += is_known
    means: NDArray[np.float64] = np.divide(total, n_known, out=np.full(len(counts), np.nan), where=n_known > 0)
    return means
