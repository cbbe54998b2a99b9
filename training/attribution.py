"""Which stream carried how much of a probability: exact Shapley values (Shapley 1953; Lundberg & Lee 2017).

A stream's value is what it adds to the probability of a label, averaged over every order in which the streams could
have come. All subsets are asked, so that nothing is sampled and the values sum to the score by construction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from training.judge import score_clips
from training.model import FoldModel, subset_probabilities
from training.windows import StreamFrames

MAX_STREAMS = 8
"""256 subsets; each further stream doubles them."""

BLOCK_VALUES = 2**24
"""Probabilities held at a time, over subsets, clips and labels: 64 MB of float32."""


@dataclass(frozen=True)
class Attribution:
    """The probabilities of some clips, divided among the streams.

    base: (n_clips, n_labels), what is said without hearing anything. values: (n_clips, n_streams, n_labels), what each
    stream adds to it. `base + values.sum(axis=1)` is the model's probability. Both are float64.
    """

    streams: tuple[str, ...]
    base: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n_clips, n_labels) in [0, 1], what the parts sum to."""
        total: NDArray[np.float64] = self.base + self.values.sum(axis=1)
        return total


def shapley(
    model: FoldModel, frames: Mapping[str, StreamFrames], clips: NDArray[np.int64], ticks: NDArray[np.int64]
) -> Attribution:
    """What each stream adds to the probabilities that the fused model gives to `clips`.

    ticks: the lengths of all clips of `frames` in milliseconds. Raises InputError for more than `MAX_STREAMS` streams.
    """
    streams = tuple(model.specs)
    subsets = all_subsets(streams)
    block = max(1, BLOCK_VALUES // (len(subsets) * len(model.labels)))
    bases, values = [], []
    for start in range(0, len(clips), block):
        some = clips[start : start + block]
        worth = subset_probabilities(model, frames, some, ticks, subsets).astype(np.float64)
        if len(streams) == 1:  # no fusion stands between the one stream and its score
            worth[-1] = score_clips(model, frames, some, ticks)[streams[0]]
        bases.append(worth[0])
        values.append(np.moveaxis(shapley_values(worth), 0, 1))  # (n_clips, n_streams, n_labels)
    if not bases:
        shape = (0, len(streams), len(model.labels))
        return Attribution(streams, np.zeros((0, len(model.labels))), np.zeros(shape))
    return Attribution(streams, np.concatenate(bases), np.concatenate(values))


def all_subsets(streams: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every subset, in the order that `shapley_values` takes: bit i of a subset's place says whether i is in it.

    Raises InputError for more than `MAX_STREAMS` streams.
    """
    if len(streams) > MAX_STREAMS:
        raise InputError(
            f"the run hears {len(streams)} streams, which have {2 ** len(streams):,} subsets; Shapley values are "
            f"computed for at most {MAX_STREAMS} streams: train on fewer"
        )
    return [tuple(stream for i, stream in enumerate(streams) if place >> i & 1) for place in range(1 << len(streams))]


def shapley_values(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Shapley value of each of n players, (n, ...), of the worth of every coalition, (2**n, ...).

    Player i is in the coalition at place p where bit i of p is set. The values sum to worth[-1] - worth[0].
    """
    n_players = len(worth).bit_length() - 1
    if len(worth) != 1 << n_players:
        raise ValueError(f"the worth of {len(worth)} coalitions came, which is no power of two")
    values = np.zeros((n_players, *worth.shape[1:]))
    for place in range(len(worth)):
        size = place.bit_count()
        for player in range(n_players):
            if not place >> player & 1:
                share = factorial(size) * factorial(n_players - size - 1) / factorial(n_players)
                values[player] += share * (worth[place | 1 << player] - worth[place])
    return values
