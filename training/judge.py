"""From models and clips to the figures of a run: the probabilities of every model, then the rows of the table.

Training and re-evaluation both come through here, and prediction shares `score_clips`, so that a figure in a report
and a score on the command line are made by the same code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.baselines import pool_clips
from training.bootstrap import N_RESAMPLES, Draws, draw, intervals, paired_difference
from training.clap import ZERO_SHOT
from training.encoders import n_parameters
from training.fusion import Fusion, fuse
from training.joint import JointModel
from training.metrics import HEADLINE, average_precisions, confusion, make_measure, recalls
from training.model import FoldModel
from training.recipe import Task
from training.results import ClassScore, Comparison, EpochPoint, ModelResult
from training.scoring import as_array, clip_probabilities, joint_scores, owners, scoring_windows, window_scores
from training.windows import StreamFrames

FUSION = "fusion"
MAJORITY = "majority class"
LARGE_TABLE = 1_000_000
"""Clips times labels from which on a tenth as many resamples are drawn, which takes minutes as it is."""

Kind = Literal["baseline", "stream", "fusion"]


@dataclass(frozen=True)
class Effort:
    """What fitting one model took: wall time over all folds, and a learning curve a fold."""

    seconds: float = 0.0
    curves: tuple[tuple[EpochPoint, ...], ...] = ()


def score_clips(
    model: FoldModel, frames: Mapping[str, StreamFrames], clips: NDArray[np.int64], ticks: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """The probabilities (n_clips, n_labels) that every model of a fold gives to `clips`, by the model's name.

    ticks: the lengths of all clips of `frames` in milliseconds.
    """
    windows = scoring_windows(clips, ticks, model.recipe)
    owner = owners(windows)
    found: dict[str, NDArray[np.float32]] = {}
    pooled = {stream: pool_clips(frames[stream], clips.tolist()) for stream in model.specs if model.baselines}
    heard = {name: one for name, one in model.baselines.items() if set(one.streams) <= set(pooled)}  # CLAP may be aside
    for name, baseline in heard.items():
        columns = [pooled[stream] for stream in baseline.streams] or [np.zeros((len(clips), 0), np.float32)]
        found[name] = baseline.probabilities(np.concatenate(columns, axis=1), model.task)
    scores = {stream: window_scores(encoder, frames[stream], windows) for stream, encoder in model.encoders.items()}
    for stream, values in scores.items():
        found[stream] = as_array(clip_probabilities(values, owner, model.task))
    if len(scores) > 1:
        if isinstance(model.fusion, JointModel):
            fused = joint_scores(model.fusion, {stream: frames[stream] for stream in model.specs}, windows)
        else:
            fused = fuse(scores, model.fusion)
        found[FUSION] = as_array(clip_probabilities(fused, owner, model.task))
    return found


def kind_of(name: str, streams: Sequence[str]) -> Kind:
    """What sort of model a name stands for."""
    return "stream" if name in streams else "fusion" if name == FUSION else "baseline"


def draw_all(
    task: Task, targets: NDArray[np.float32], probabilities: Mapping[str, NDArray[np.float32]], seed: int
) -> dict[str, Draws]:
    """The metrics of every model over the same resamples of clips; all arrays are (n_clips, n_labels)."""
    n_resamples = N_RESAMPLES if targets.size < LARGE_TABLE else N_RESAMPLES // 10
    return {
        name: draw(make_measure(task, targets, values), len(targets), seed, n_resamples)
        for name, values in probabilities.items()
    }


def make_rows(
    models: Sequence[FoldModel],
    targets: NDArray[np.float32],
    probabilities: Mapping[str, NDArray[np.float32]],
    draws: Mapping[str, Draws],
    efforts: Mapping[str, Effort],
) -> tuple[ModelResult, ...]:
    """One row a model, over the test clips of all folds together; targets and probabilities are (n_clips, n_labels)."""
    return tuple(
        _row(name, models, targets, values, draws[name], efforts.get(name, Effort()))
        for name, values in probabilities.items()
    )


def compare(task: Task, streams: Sequence[str], draws: Mapping[str, Draws]) -> tuple[Comparison, ...]:
    """The fusion against every stream alone, the best one first, then the best baseline; none without figures."""
    metric = HEADLINE[task]
    if FUSION not in draws or math.isnan(draws[FUSION].values[metric]):
        return ()
    ranked = sorted(draws, key=lambda name: -draws[name].values[metric])
    rivals = [name for name in ranked if kind_of(name, streams) == "stream"]
    rivals += [name for name in ranked if kind_of(name, streams) == "baseline"][:1]
    return tuple(
        Comparison(name=FUSION, other=rival, difference=paired_difference(draws[FUSION], draws[rival], metric))
        for rival in rivals
    )


def _row(
    name: str,
    models: Sequence[FoldModel],
    targets: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    draws: Draws,
    effort: Effort,
) -> ModelResult:
    first = models[0]
    is_single = first.task == "single_label"
    scores = recalls(targets, probabilities) if is_single else average_precisions(targets, probabilities)
    n_clips = targets.sum(axis=0).astype(int)
    weights = [model.fusion.weights for model in models if isinstance(model.fusion, Fusion)]
    if name in first.baselines:
        size = 0 if name == ZERO_SHOT else first.baselines[name].n_parameters
    elif name == FUSION and isinstance(first.fusion, JointModel):
        size = n_parameters(first.fusion)
    elif name == FUSION:
        size = sum(n_parameters(encoder) for encoder in first.encoders.values()) + len(weights[0])
    else:
        size = n_parameters(first.encoders[name])
    return ModelResult(
        name=name,
        kind=kind_of(name, list(first.specs)),
        n_parameters=size,
        seconds=effort.seconds,
        metrics=intervals(draws),
        per_class=tuple(
            ClassScore(label=label, n_clips=int(n), score=float(score))
            for label, n, score in zip(first.labels, n_clips, scores, strict=True)
            if n
        ),
        confusion=tuple(map(tuple, confusion(targets, probabilities).tolist())) if is_single else (),
        curves=effort.curves,
        fusion_weights={s: float(np.mean([one[s] for one in weights])) for s in first.specs}
        if name == FUSION and weights
        else {},
    )
