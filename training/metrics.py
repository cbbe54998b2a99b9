"""The figures a model is judged by. Pure functions; each cites its definition.

targets: (n_clips, n_labels) of 0 and 1. probabilities: (n_clips, n_labels). weights: (n_clips,) how often each clip
counts, by default once; whole numbers of a bootstrap resample make the figure that of the resample.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.recipe import Task

Values = NDArray[Any]
Measure = Callable[[Values | None], dict[str, float]]

HEADLINE: dict[Task, str] = {"single_label": "accuracy", "multi_label": "map"}
"""The metric that decides, by task."""

LARGEST_AUC = 1 - 1e-9
"""A mean AUC of 1 has an infinite d-prime; held here, it is 8.5."""


def make_measure(task: Task, targets: Values, probabilities: Values) -> Measure:
    """A function of weights that gives every metric of the task, by name; NaN where no class has a figure."""
    if task == "single_label":
        truth, choice = targets.argmax(axis=1), probabilities.argmax(axis=1)

        def measure_choices(weights: Values | None = None) -> dict[str, float]:
            return {
                "accuracy": accuracy(truth, choice, weights),
                "macro_f1": macro_f1(truth, choice, targets.shape[1], weights),
            }

        return measure_choices
    order, wanted, ends = _ranking(targets, probabilities)

    def measure_ranks(weights: Values | None = None) -> dict[str, float]:
        precision, area = _ranked(order, wanted, ends, weights)
        mauc = _mean(area)
        return {"map": _mean(precision), "mauc": mauc, "d_prime": d_prime(mauc)}

    return measure_ranks


def headline_score(task: Task, targets: Values, probabilities: Values) -> float:
    """The metric that decides, over all clips; NaN where no class has a figure."""
    return make_measure(task, targets, probabilities)(None)[HEADLINE[task]]


def accuracy(truth: Values, choice: Values, weights: Values | None = None) -> float:
    """The share of clips whose likeliest class is theirs; `truth` and `choice` hold class indices."""
    return float(np.average(truth == choice, weights=weights))


def macro_f1(truth: Values, choice: Values, n_labels: int, weights: Values | None = None) -> float:
    """The mean over classes of 2 TP / (2 TP + FP + FN) (Opitz & Burst 2019, their F1 averaged).

    Classes that no weighted clip has and none was taken for are left out of the mean.
    """
    counts = np.ones(len(truth)) if weights is None else weights
    of_class = np.bincount(truth, counts, n_labels) + np.bincount(choice, counts, n_labels)  # 2 TP + FP + FN
    hits = np.bincount(truth[truth == choice], counts[truth == choice], n_labels)
    return float(np.mean(2 * hits[of_class > 0] / of_class[of_class > 0]))


def average_precisions(targets: Values, probabilities: Values, weights: Values | None = None) -> Values:
    """(n_labels,) the mean precision at each clip that has the label, down the ranking; NaN where none has it.

    The step-wise area without interpolation, clips of equal probability taken together (as scikit-learn's
    `average_precision_score`); its mean over classes is the mAP of FSD50K (Fonseca et al. 2022).
    """
    return _ranked(*_ranking(targets, probabilities), weights)[0]


def aucs(targets: Values, probabilities: Values, weights: Values | None = None) -> Values:
    """(n_labels,) the chance that a clip with the label ranks above one without (Hanley & McNeil 1982).

    Ties count half; NaN where no clip, or every clip, has the label.
    """
    return _ranked(*_ranking(targets, probabilities), weights)[1]


def d_prime(mean_auc: float) -> float:
    """sqrt(2) times the standard normal quantile of the mean AUC (Hershey et al. 2017, on AudioSet); NaN of NaN."""
    if math.isnan(mean_auc):
        return math.nan
    return float(np.sqrt(2) * NormalDist().inv_cdf(min(max(mean_auc, 1 - LARGEST_AUC), LARGEST_AUC)))


def recalls(targets: Values, probabilities: Values) -> Values:
    """(n_labels,) the share of a class's clips that were taken for it; NaN where it has none."""
    hits = targets * (probabilities.argmax(axis=1)[:, None] == np.arange(targets.shape[1]))
    n_clips = targets.sum(axis=0)
    shares: Values = np.divide(hits.sum(axis=0), n_clips, out=np.full(len(n_clips), np.nan), where=n_clips > 0)
    return shares


def confusion(targets: Values, probabilities: Values) -> Values:
    """(n_labels, n_labels) int64: how many clips of class i were taken for class j."""
    n = targets.shape[1]  # counted here: scikit-learn would do it too, and takes a second of every start to import
    return np.bincount(n * targets.argmax(axis=1) + probabilities.argmax(axis=1), minlength=n * n).reshape(n, n)


def _ranking(targets: Values, probabilities: Values) -> tuple[Values, Values, Values]:
    """Clips from the likeliest down, by class: their order, their targets, and whether a run of ties ends there."""
    order = np.argsort(-probabilities, axis=0, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=0)
    ends = np.ones(ranked.shape, bool)
    ends[:-1] = ranked[:-1] != ranked[1:]
    return order, np.take_along_axis(targets, order, axis=0).astype(np.float64), ends


def _ranked(order: Values, wanted: Values, ends: Values, weights: Values | None) -> tuple[Values, Values]:
    """Average precision and AUC of every class, from counts down the ranking."""
    counts = np.ones(order.shape) if weights is None else weights.astype(np.float64)[order]
    hits, seen = np.cumsum(counts * wanted, axis=0), np.cumsum(counts, axis=0)
    n_hits, n_misses = hits[-1], seen[-1] - hits[-1]
    precision, area = np.full(order.shape[1], np.nan), np.full(order.shape[1], np.nan)
    for j in range(order.shape[1]):
        h, s = hits[ends[:, j], j], seen[ends[:, j], j]
        gained = np.diff(h, prepend=0.0)
        if n_hits[j] > 0:
            precision[j] = np.sum(gained * np.divide(h, s, out=np.zeros_like(h), where=s > 0)) / n_hits[j]
        if n_hits[j] > 0 and n_misses[j] > 0:
            misses = s - h
            below = n_misses[j] - misses + np.diff(misses, prepend=0.0) / 2
            area[j] = np.sum(gained * below) / (n_hits[j] * n_misses[j])
    return precision, area


def _mean(values: Values) -> float:
    """The mean over the classes that have a figure; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
