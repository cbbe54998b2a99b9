"""All models of one fold, in the order in which they may know about each other.

Every stream's encoder alone; then late fusion's weights, fitted on the validation clips' scores, which no encoder has
learned from, or a joint network; and each network once more, in the same way, on training and validation clips
together. Baselines choose nothing and learn from both sides at once. Test clips are never looked at here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from storage_schema.progress import OnProgress
from training.baselines import LinearModel, logistic_regression, majority, pool_chunk
from training.clap import CLAP, PROBE
from training.corpus import Corpus
from training.encoders import StreamEncoder
from training.fit import fit_encoders, fit_joint
from training.fusion import Fusion, fit_fusion
from training.joint import JointModel
from training.judge import FUSION, MAJORITY
from training.model import FoldModel
from training.recipe import Recipe
from training.results import EpochPoint
from training.scoring import owners, scoring_windows, window_scores
from training.splits import Fold


@dataclass(frozen=True)
class FittedFold:
    """The models of a fold; the wall time each took, and the learning curve of each stream, by the model's name."""

    model: FoldModel
    seconds: dict[str, float]
    curves: dict[str, tuple[EpochPoint, ...]]


def fit_fold(corpus: Corpus, fold: Fold, recipe: Recipe, fabric: Fabric, on_progress: OnProgress) -> FittedFold:
    """Fit all models of `fold`. Raises InputError where a loss diverges."""
    both = np.union1d(fold.train, fold.validation) if recipe.fit.refit else fold.train
    loader = corpus.loader
    every = tuple(loader.sources)
    plan = loader.plan(every, fold.validation)
    asked = np.concatenate(plan)  # in one order for all streams
    encoders: dict[str, StreamEncoder] = {}
    scores: dict[str, torch.Tensor] = {}
    seconds: dict[str, float] = {}
    curves: dict[str, tuple[EpochPoint, ...]] = {}
    is_aligned = recipe.fusion.kind == "late" and recipe.fusion.contrastive > 0
    for streams in (every,) if is_aligned else ((stream,) for stream in every):
        started = time.monotonic()
        what = f"fold {fold.number}, {', '.join(streams)}"
        fitted = fit_encoders(
            streams, corpus, fold.train, fold.validation, recipe, fabric, on_epoch=_on(what, on_progress)
        )
        for stream, found in fitted.items():
            parts = [
                window_scores(found.network, chunk.frames[stream], scoring_windows(chunk.clips, corpus.ticks, recipe))
                for chunk in loader.read([stream], plan)
            ]
            scores[stream] = torch.cat(parts)
            curves[stream] = found.curve
        if recipe.fit.refit:
            again = _on(f"{what}, with validation clips", on_progress)
            fitted = fit_encoders(streams, corpus, both, both[:0], recipe, fabric, on_epoch=again)
        encoders |= {stream: found.network for stream, found in fitted.items()}
        seconds |= dict.fromkeys(streams, (time.monotonic() - started) / len(streams))

    what = f"fold {fold.number}, fusion"
    on_progress(what, 0, 1)
    started = time.monotonic()
    fusion: Fusion | JointModel
    if recipe.fusion.kind == "late" or len(every) == 1:
        targets = torch.from_numpy(corpus.targets[asked])
        owner = owners(scoring_windows(asked, corpus.ticks, recipe))
        fusion = fit_fusion(scores, owner, targets, corpus.task)
        seconds[FUSION] = sum(seconds.values()) + time.monotonic() - started
    else:
        sides = (fold.train, fold.validation)
        joint = fit_joint(every, corpus, *sides, recipe, fabric, on_epoch=_on(what, on_progress))
        curves[FUSION] = joint.curve
        if recipe.fit.refit:
            again = _on(f"{what}, with validation clips", on_progress)
            joint = fit_joint(every, corpus, both, both[:0], recipe, fabric, on_epoch=again)
        fusion = joint.network
        seconds[FUSION] = time.monotonic() - started

    baselines = _fit_baselines(corpus, both, seconds, _on(f"fold {fold.number}, baselines", on_progress))
    model = FoldModel(corpus.task, corpus.labels, recipe, corpus.specs, encoders, fusion, baselines)
    return FittedFold(model, seconds, curves)


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
