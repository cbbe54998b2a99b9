"""All models of one fold, and what their fusion says when it hears only some of the streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from storage_schema.streams import StreamSpec
from training.baselines import LinearModel
from training.encoders import StreamEncoder
from training.fusion import Fusion, fuse
from training.recipe import Recipe, Task
from training.scoring import (
    as_array,
    clip_means,
    clip_probabilities,
    owners,
    scoring_windows,
    window_embeddings,
    window_scores,
)
from training.windows import StreamFrames


@dataclass(frozen=True)
class FoldModel:
    """All models of one fold. Streams are in the recipe's order."""

    task: Task
    labels: tuple[str, ...]
    recipe: Recipe
    specs: Mapping[str, StreamSpec]
    encoders: Mapping[str, StreamEncoder]
    fusion: Fusion
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
    scores = {stream: window_scores(encoder, frames[stream], windows) for stream, encoder in model.encoders.items()}
    silence = torch.zeros(len(windows), len(model.labels))
    heard = [
        fuse({stream: scores[stream] for stream in subset}, model.fusion) if subset else silence for subset in subsets
    ]
    owner = owners(windows)
    return np.stack([as_array(clip_probabilities(fused, owner, model.task)) for fused in heard])


def clip_embeddings(
    model: FoldModel, frames: Mapping[str, StreamFrames], clips: NDArray[np.int64], ticks: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The fused embedding of `clips`, (n_clips, n_dims): the mean over a clip's windows.

    Of late fusion it is the streams' embeddings side by side, each as loud as the fusion hears it.
    """
    windows = scoring_windows(clips, ticks, model.recipe)
    parts = [
        window_embeddings(encoder, frames[stream], windows)
        * (model.fusion.weights[stream] / model.fusion.spreads[stream])
        for stream, encoder in model.encoders.items()
    ]
    return as_array(clip_means(torch.cat(parts, dim=1), owners(windows)))
