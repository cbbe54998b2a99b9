"""The test clips on a plane, clips that the fusion embeds alike lying close together.

PCA to at most 30 dimensions, then t-SNE (van der Maaten & Hinton 2008) from a fixed start. Each fold has models of its
own, whose spaces are turned into that of the first fold (orthogonal Procrustes, Schönemann 1966) by clips that are no
test clips of the fold: no test clip takes part in placing itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.exhibits.judged import Judged
from training.recipe import Task

MAX_POINTS = 2_000
N_ANCHORS = 128
"""Clips that all folds' models embed, by which their spaces are laid over each other."""

N_COMPONENTS = 30
PERPLEXITY = 30.0
FEWEST_FOR_TSNE = 20
"""With fewer clips than this, neighbourhoods mean nothing and the plane is the first two principal components."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One clip at (x, y), both in [0, 1], with its true labels and those that were heard."""

    x: float
    y: float
    uri: str
    truth: tuple[str, ...]
    heard: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return set(self.truth) == set(self.heard)


@dataclass(frozen=True)
class EmbeddingMap:
    """`method` names how the plane was made; `n_tested` counts the test clips that the points were drawn from."""

    method: str
    n_tested: int
    points: tuple[Point, ...]


def draw_clips(n_clips: int, seed: int, at_most: int = MAX_POINTS) -> NDArray[np.int64]:
    """All clips, or `at_most` drawn evenly at random, ascending; the same for the same seed."""
    if n_clips <= at_most:
        return np.arange(n_clips)
    return np.sort(np.random.default_rng(seed).choice(n_clips, at_most, replace=False)).astype(np.int64)


def lay_out(embedded: Matrix) -> tuple[Matrix, str]:
    """The points (n, 2) of the embeddings (n, n_dims), each axis in [0, 1], both on one scale; and the method's name.

    Deterministic. Equal embeddings all lie in the middle.
    """
    scores = principal_components(embedded, N_COMPONENTS)
    method = "PCA"
    if len(scores) >= FEWEST_FOR_TSNE and np.ptp(scores) > 0:
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(scores) - 1) / 3)
        scores = scores / scores[:, 0].std()
        scores = np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(scores), np.float64)
        method = "t-SNE"
    plane = np.zeros((len(scores), 2))
    plane[:, : scores.shape[1]] = scores[:, :2]
    low, high = plane.min(axis=0), plane.max(axis=0)
    size = max(float((high - low).max()), 1e-12)
    return 0.5 + (plane - (low + high) / 2) / size, method


def principal_components(values: Matrix, n_components: int) -> Matrix:
    """(n, at most n_components) the rows' scores on their principal components, signs fixed by the largest entry."""
    centred = values - values.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(n_components, len(s))
    scores = u[:, :kept] * s[:kept]
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(kept)]
    result: Matrix = scores * np.where(largest < 0, -1.0, 1.0)
    return result


def align(own: Matrix, anchors: Matrix, target: Matrix) -> Matrix:
    """`own` (n, n_dims) in the space of `target`.

    anchors: (n_anchors, n_dims), clips in the space of `own`; target: (n_anchors, n_dims), the same clips in the other.
    Both are centred and scaled to one size, and turned onto each other as well as a rotation can.
    """
    middle, aim = anchors.mean(axis=0), target.mean(axis=0)
    size, wanted = float(np.linalg.norm(anchors - middle)), float(np.linalg.norm(target - aim))
    u, _, v = np.linalg.svd((anchors - middle).T @ (target - aim), full_matrices=False)
    turned: Matrix = (own - middle) @ (u @ v) * (wanted / max(size, 1e-12)) + aim
    return turned


def join_folds(
    folds: NDArray[np.int64], own: Mapping[int, Matrix], anchors: NDArray[np.int64], seen: Mapping[int, Matrix]
) -> Matrix:
    """All points in the space of the first fold, (n_points, n_dims).

    folds: (n_points,) the fold that each was tested in. own: a fold's embeddings of its points, in order. anchors:
    which points are anchors. seen: every fold's embeddings of the anchors.
    """
    first = next(iter(own))
    joined = np.zeros((len(folds), own[first].shape[1]))
    for fold, values in own.items():
        others = folds[anchors] != fold
        is_strange = fold != first and others.any()
        joined[folds == fold] = align(values, seen[fold][others], seen[first][others]) if is_strange else values
    return joined


def make_map(
    judged: Judged, places: NDArray[np.int64], embedded: Matrix, labels: Sequence[str], task: Task
) -> EmbeddingMap:
    """The map of the judged clips at `places`; embedded: (n_places, n_dims), all in one space."""
    plane, method = lay_out(embedded)
    heard = judged.is_heard(task)
    points = tuple(
        Point(
            round(float(x), 4),
            round(float(y), 4),
            judged.uris[i],
            _names(labels, judged.is_true[i]),
            _names(labels, heard[i]),
        )
        for i, (x, y) in zip(places.tolist(), plane, strict=True)
    )
    return EmbeddingMap(method, len(judged), points)


def _names(labels: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(label for label, is_chosen in zip(labels, chosen, strict=True) if is_chosen)
