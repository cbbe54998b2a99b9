"""All models of one fold, put together from its fits.

Every stream's encoder alone; then late fusion's weights, fitted on the validation clips' scores, which no encoder has
learned from, or a joint network; each network is the one that was fitted once more, in the same way, on training and
validation clips together. Baselines choose nothing and learn from both sides at once. Test clips are never looked at.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from storage_schema.progress import OnProgress
from training.baselines import LinearModel, logistic_regression, majority, pool_chunk
from training.clap import CLAP, PROBE
from training.corpus import Corpus
from training.encoders import StreamEncoder
from training.fusion import Fusion, fit_fusion
from training.inputs import encoder_shape
from training.jobs import ALONE, FitJob, FitOutcome, plan_jobs, validation_plan
from training.joint import JointModel, make_joint
from training.judge import FUSION, MAJORITY
from training.model import FoldModel
from training.recipe import Recipe
from training.results import EpochPoint
from training.scoring import owners, scoring_windows
from training.splits import Fold
from training.tensors import fill


@dataclass(frozen=True)
class FittedFold:
    """The models of a fold; the wall time each took, and the learning curve of each stream, by the model's name."""

    model: FoldModel
    seconds: dict[str, float]
    curves: dict[str, tuple[EpochPoint, ...]]


def assemble_fold(
    corpus: Corpus, fold: Fold, recipe: Recipe, outcomes: Mapping[FitJob, FitOutcome], on_progress: OnProgress
) -> FittedFold:
    """All models of `fold` from the outcomes of `plan_jobs`; what is left to fit is small."""
    every = tuple(corpus.loader.sources)
    jobs = plan_jobs(fold, recipe)
    shapes = {stream: encoder_shape(spec, len(corpus.labels), recipe) for stream, spec in corpus.specs.items()}
    encoders: dict[str, StreamEncoder] = {}
    scores: dict[str, torch.Tensor] = {}
    seconds: dict[str, float] = defaultdict(float)
    curves: dict[str, tuple[EpochPoint, ...]] = {}
    fusion: Fusion | JointModel | None = None
    for job in jobs:
        found = outcomes[job]
        is_kept = job.is_again or not recipe.fit.refit
        if not job.is_again:
            curves |= found.curves
        if job.fusion != ALONE:
            seconds[FUSION] += found.seconds
            if is_kept:
                fusion = make_joint(recipe, shapes)
                fill(fusion, "joint", found.tensors)
            continue
        scores |= {stream: torch.from_numpy(values) for stream, values in found.scores.items()}
        for stream in job.streams:
            seconds[stream] += found.seconds / len(job.streams)
            if is_kept:
                encoders[stream] = StreamEncoder(shapes[stream])
                fill(encoders[stream], f"stream/{stream}", found.tensors)
    if fusion is None:
        started = time.monotonic()
        fusion = fit_late(corpus, fold, recipe, scores)
        seconds[FUSION] = sum(seconds[stream] for stream in every) + time.monotonic() - started
    learned = np.union1d(fold.train, fold.validation) if recipe.fit.refit else fold.train
    baselines = _fit_baselines(corpus, learned, seconds, _on(f"fold {fold.number}, baselines", on_progress))
    model = FoldModel(corpus.task, corpus.labels, recipe, corpus.specs, encoders, fusion, baselines)
    return FittedFold(model, dict(seconds), curves)


def fit_late(corpus: Corpus, fold: Fold, recipe: Recipe, scores: Mapping[str, torch.Tensor]) -> Fusion:
    """Late fusion's weights from what each of some streams says of the validation clips."""
    asked = np.concatenate(validation_plan(corpus, fold))
    targets = torch.from_numpy(corpus.targets[asked])
    return fit_fusion(scores, owners(scoring_windows(asked, corpus.ticks, recipe)), targets, corpus.task)


def _fit_baselines(
    corpus: Corpus, clips: NDArray[np.int64], seconds: dict[str, float], on_step: "_OnStep"
) -> dict[str, LinearModel]:
    """The commonest class, logistic regression on each stream and on all, then CLAP; adds their times to `seconds`."""
    targets = corpus.targets[clips]
    baselines = {MAJORITY: majority(targets, corpus.task)}
    seconds[MAJORITY] = 0.0
    pooled: dict[str, NDArray[np.float32]] = {}
    for stream in corpus.loader.sources:
        pooled |= corpus.loader.each([stream], clips, pool_chunk)
    probed = {CLAP} if corpus.clap.loader is not None else set()  # fitted below, under its own name
    plans: dict[str, tuple[str, ...]] = {f"pooled {stream}": (stream,) for stream in pooled if stream not in probed}
    if len(pooled) > 1:
        plans["pooled streams, side by side"] = tuple(pooled)
    for done, (name, streams) in enumerate(plans.items()):
        on_step(done, len(plans))
        started = time.monotonic()
        features = np.concatenate([pooled[stream] for stream in streams], axis=1)
        baselines[name] = logistic_regression(streams, features, targets, corpus.task)
        seconds[name] = time.monotonic() - started
    started = time.monotonic()
    found = corpus.clap.fit(clips, targets, corpus.task)
    seconds |= {name: time.monotonic() - started if name == PROBE else 0.0 for name in found}
    return baselines | found


_OnStep = Callable[[int, int], None]


def _on(what: str, on_progress: OnProgress) -> _OnStep:
    return lambda done, total: on_progress(what, done, total)
