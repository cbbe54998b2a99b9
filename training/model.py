"""All models of one fold, and what their fusion says when it hears only some of the streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storage_schema.streams import StreamSpec
from training.baselines import LinearModel
from training.encoders import StreamEncoder
from training.fusion import Fusion, fuse
from training.joint import JointModel
from training.recipe import Recipe, Task
from training.scoring import (
    as_array,
    clip_means,
    clip_probabilities,
    joint_embeddings,
    joint_scores,
    owners,
    scoring_windows,
    window_embeddings,
    window_scores,
)
from training.windows import StreamFrames, Window


@dataclass(frozen=True)
class FoldModel:
    """All models of one fold. Streams are in the recipe's order."""

    task: Task
    labels: tuple[str, ...]
    recipe: Recipe
    specs: Mapping[str, StreamSpec]
    encoders: Mapping[str, StreamEncoder]
    fusion: Fusion | JointModel
    baselines: Mapping[str, LinearModel]


def subset_probabilities(
    model: FoldModel,
    frames: Mapping[str, StreamFrames],
    clips: NDArray[np.int64],
    ticks: NDArray[np.int64],
    subsets: Sequence[tuple[str, ...]],
) -> NDArray[np.float32]:
    """What the fusion says of `clips` when it hears only the streams of each subset.

    ticks: the lengths of all clips of `frames` in milliseconds. Returns (n_subsets, n_clips, n_labels) in [0, 1]; the
    empty subset gives what the fusion says without hearing anything.
    """
    windows = scoring_windows(clips, ticks, model.recipe)
    owner = owners(windows)
    fused = fused_scores(model, frames, windows, subsets)
    return np.stack([as_array(clip_probabilities(scores, owner, model.task)) for scores in fused])


def fused_scores(
    model: FoldModel, frames: Mapping[str, StreamFrames], windows: Sequence[Window], subsets: Sequence[tuple[str, ...]]
) -> list[Tensor]:
    """The fusion's scores (n_windows, n_labels) for each subset of streams; all 0 for the empty one."""
    silence = torch.zeros(len(windows), len(model.labels))
    if isinstance(model.fusion, JointModel):
        joint = model.fusion
        return [
            joint_scores(joint, {one: frames[one] for one in some}, windows) if some else silence for some in subsets
        ]
    asked = {stream for subset in subsets for stream in subset}
    scores = {stream: window_scores(model.encoders[stream], frames[stream], windows) for stream in asked}
    late = model.fusion
    return [fuse({stream: scores[stream] for stream in some}, late) if some else silence for some in subsets]


def clip_embeddings(
    model: FoldModel, frames: Mapping[str, StreamFrames], clips: NDArray[np.int64], ticks: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The fused embedding of `clips`, (n_clips, n_dims): the mean over a clip's windows.

    Of late fusion it is the streams' embeddings side by side, each as loud as the fusion hears it.
    """
    windows = scoring_windows(clips, ticks, model.recipe)
    owner, late = owners(windows), model.fusion
    if isinstance(late, JointModel):
        return as_array(clip_means(joint_embeddings(late, frames, windows), owner))
    loudness = {stream: weight / late.spreads[stream] for stream, weight in late.weights.items()}
    parts = [
        loudness[stream] * window_embeddings(encoder, frames[stream], windows)
        for stream, encoder in model.encoders.items()
    ]
    return as_array(clip_means(torch.cat(parts, dim=1), owner))
