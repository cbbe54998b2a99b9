"""What a model must beat: the commonest class, and logistic regression on features pooled over the whole clip.

The first hears nothing; the second hears everything but order. Both are linear maps of pooled features, so that one
type holds them and a checkpoint can keep them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from storage_schema.streams import StreamSpec
from training.inputs import gather_inputs, is_waveform, n_channels
from training.loader import Chunk
from training.recipe import Task
from training.windows import StreamFrames

INVERSE_PENALTY = 1.0
"""C of scikit-learn's LogisticRegression, left at its default."""

MAX_ITERATIONS = 200

N_BANDS = 32
"""About a third of an octave each where a 25 ms patch can tell them apart."""


@dataclass(frozen=True)
class LinearModel:
    """Scores = ((pooled - mean) / std) @ weight + bias, over the pooled features of `streams` side by side."""

    streams: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def n_parameters(self) -> int:
        return self.weight.size + self.bias.size

    def probabilities(self, pooled: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
        """(n_clips, n_labels) of the pooled features (n_clips, n_features) of the model's streams."""
        standard = np.nan_to_num((pooled - self.mean) / self.std)  # of a clip that lacks a stream: what is usual
        scores = torch.from_numpy(standard @ self.weight + self.bias)
        return (torch.softmax(scores, dim=-1) if task == "single_label" else torch.sigmoid(scores)).numpy()


def pool_clips(frames: StreamFrames, clips: Sequence[int]) -> NDArray[np.float32]:
    """(n_clips, 2 * n_channels): mean and standard deviation of every input channel over all frames of a clip.

    Positions within a patch of samples are no properties, so of a waveform the power of each patch in `N_BANDS` bands,
    in dB, is pooled. A clip without any frame has NaN, which a `LinearModel` takes for what is usual.
    """
    rows = []
    for clip in clips:
        if frames.lengths[clip]:
            rows.append(_pool(frames.spec, gather_inputs(frames, frames.rows(np.array([clip])))))
        else:
            rows.append(np.full_like(_pool(frames.spec, np.zeros((1, n_channels(frames.spec)), np.float32)), np.nan))
    return np.array(rows, np.float32)


def _pool(spec: StreamSpec, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2 * n_channels,) of the inputs (n_frames, n_channels) of one clip."""
    if is_waveform(spec):
        inputs = _band_levels_db(inputs)
    return np.concatenate([inputs.mean(axis=0), inputs.std(axis=0)])


def pool_chunk(chunk: Chunk) -> dict[str, NDArray[np.float32]]:
    """`pool_clips` of every stream of a chunk, by its name."""
    return {stream: pool_clips(frames, chunk.clips.tolist()) for stream, frames in chunk.frames.items()}


def _band_levels_db(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_frames, N_BANDS or fewer) the power of each patch in bands that widen with frequency, in dB."""
    power = np.square(np.abs(np.fft.rfft(samples * np.hanning(samples.shape[1]), axis=1)))
    edges = np.unique(np.geomspace(1, power.shape[1], N_BANDS + 1).astype(int)) - 1
    levels: NDArray[np.float32] = 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-8)
    return levels


def majority(targets: NDArray[np.float32], task: Task) -> LinearModel:
    """Scores that say how common each class is among `targets`, whatever is heard."""
    share = np.clip(targets.mean(axis=0), 1e-6, 1 - 1e-6)
    bias = np.log(share) if task == "single_label" else np.log(share / (1 - share))
    none = np.zeros(0, np.float32)
    return LinearModel((), none, none, np.zeros((0, targets.shape[1]), np.float32), bias.astype(np.float32))


def logistic_regression(
    streams: Sequence[str], pooled: NDArray[np.float32], targets: NDArray[np.float32], task: Task
) -> LinearModel:
    """Multinomial (single_label) or one-against-rest (multi_label) logistic regression with an L2 penalty.

    pooled: (n_clips, n_features), standardised here. The same optimum as scikit-learn's LogisticRegression with
    C = `INVERSE_PENALTY`, for all labels of a multi-label task at once.
    """
    from scipy.optimize import minimize  # not before it is needed: importing it takes half a second of every start

    mean, std = np.nanmean(pooled, axis=0), np.nanstd(pooled, axis=0)
    std = np.where(std < 1e-6, 1.0, std).astype(np.float32)
    inputs = torch.from_numpy(np.nan_to_num((pooled - mean) / std)).double()
    wanted = torch.from_numpy(targets).double()
    n_features, n_labels = inputs.shape[1], wanted.shape[1]

    def loss_and_gradient(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = torch.tensor(values, requires_grad=True)
        weight, bias = parameters[:-n_labels].view(n_features, n_labels), parameters[-n_labels:]
        scores = inputs @ weight + bias
        if task == "single_label":
            loss = F.cross_entropy(scores, wanted, reduction="sum")
        else:
            loss = F.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        loss = loss * INVERSE_PENALTY + weight.square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        assert parameters.grad is not None, "backward leaves a gradient on a leaf"
        return loss.item(), parameters.grad.numpy()

    start = np.zeros(n_features * n_labels + n_labels)
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}).x
    return LinearModel(
        tuple(streams),
        mean.astype(np.float32),
        std,
        found[:-n_labels].reshape(n_features, n_labels).astype(np.float32),
        found[-n_labels:].astype(np.float32),
    )
