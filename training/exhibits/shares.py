"""What each stream carried, class by class: the mean of the streams' Shapley values for the true labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.attribution import Attribution


@dataclass(frozen=True)
class Share:
    """How the probability of a true label comes about, on the mean of `n_clips` clips.

    `base` is said without hearing anything; `values` is what each stream adds; `total` is their sum.
    """

    label: str
    n_clips: int
    base: float
    values: tuple[float, ...]

    @property
    def total(self) -> float:
        return self.base + sum(self.values)


@dataclass(frozen=True)
class Shares:
    """`overall` is the mean over all pairs of a clip and a label that is true of it; `classes` in the labels' order."""

    streams: tuple[str, ...]
    overall: Share
    classes: tuple[Share, ...]


def summarise(found: Attribution, is_true: NDArray[np.bool_], labels: Sequence[str]) -> Shares | None:
    """The shares of the clips that `found` is about; is_true: (n_clips, n_labels). None where nothing is true."""
    if not is_true.any():
        return None
    values = np.moveaxis(found.values, 1, -1)  # (n_clips, n_labels, n_streams)
    classes = [
        _share(label, found.base[:, i][is_true[:, i]], values[:, i][is_true[:, i]])
        for i, label in enumerate(labels)
        if is_true[:, i].any()
    ]
    return Shares(found.streams, _share("all", found.base[is_true], values[is_true]), tuple(classes))


def _share(label: str, base: NDArray[np.float64], values: NDArray[np.float64]) -> Share:
    return Share(label, len(base), float(base.mean()), tuple(values.mean(axis=0).tolist()))
