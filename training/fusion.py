"""Late fusion that leaves alone what says nothing: one non-negative weight a stream.

The fused score of a window is the sum over streams of weight * score / spread. Since a stream's score is a linear map
of its embedding, this is a linear head over the concatenated embeddings, of which only the weights are left to fit: a
handful of numbers, which a small validation set can settle. Encoders are fitted apart, so that none starves another.
Figures and what else was tried: docs/decisions/0001-calibrated-late-fusion.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.recipe import Task
from training.scoring import clip_loss, clip_probabilities

MAX_WEIGHT = 20.0
"""Where validation is separable the likelihood grows without end; no good fit comes near."""

SMALLEST_SPREAD = 1e-6
"""A stream that gives every class of every window one score is not blown up."""


@dataclass(frozen=True)
class Fusion:
    """`weights` of the streams' scores once each is divided by its spread, so that two weights can be compared.

    `spreads`: the standard deviation of a stream's scores on validation.
    """

    weights: Mapping[str, float]
    spreads: Mapping[str, float]


def fuse(scores: Mapping[str, Tensor], fusion: Fusion) -> Tensor:
    """The fused scores (n_windows, n_labels) of the streams' scores."""
    parts = [fusion.weights[stream] / fusion.spreads[stream] * values for stream, values in scores.items()]
    return torch.stack(parts).sum(dim=0)


def fit_fusion(scores: Mapping[str, Tensor], owner: Tensor, targets: Tensor, task: Task) -> Fusion:
    """The weights that give the validation clips the smallest cross-entropy under the rule of `training.scoring`.

    scores: one (n_windows, n_labels) a stream. owner: (n_windows,) clip of each window. targets: (n_clips, n_labels).
    A penalty of squared weights worth one clip keeps them finite; it is taken on scores of unit spread, so that it
    makes no difference how loud a stream is. Deterministic; solved by L-BFGS-B, so that a useless stream can end at
    exactly 0.
    """
    from scipy.optimize import minimize  # not before it is needed: importing it takes half a second of every start

    loud = torch.stack(list(scores.values())).double()  # (n_streams, n_windows, n_labels)
    spread = loud.std(dim=(1, 2)).clamp(min=SMALLEST_SPREAD)
    stacked = loud / spread[:, None, None]
    wanted = targets.double()

    def loss_and_gradient(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        fused = torch.einsum("s,swl->wl", weights, stacked)
        loss = clip_loss(clip_probabilities(fused, owner, task), wanted, task) + weights.square().sum() / len(wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        assert weights.grad is not None, "backward leaves a gradient on a leaf"
        return loss.item(), weights.grad.numpy()

    start = np.full(len(stacked), 1.0 / len(stacked))
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=[(0.0, MAX_WEIGHT)] * len(stacked)).x
    return Fusion(dict(zip(scores, found.tolist(), strict=True)), dict(zip(scores, spread.tolist(), strict=True)))
