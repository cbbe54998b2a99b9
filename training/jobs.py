"""The fits of a run as jobs that know nothing of each other, so that they can run side by side and be taken up again.

    fold 1   pitch      first      learns from the training clips, asked about the validation clips
             pitch      again      learns from both, kept
             timbre     first ...
             together   first ...  a joint network, where the recipe asks for one

A job is a value and so is its outcome. What an outcome says does not depend on which process made it, or when.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import TypeAdapter

from training.corpus import Corpus
from training.fit import fit_encoders, fit_joint
from training.fit_state import EpochKeeper
from training.objectives import JOINT
from training.recipe import Recipe, with_kind
from training.results import EpochPoint
from training.scoring import scoring_windows, window_scores
from training.splits import Fold
from training.tensors import Tensors, network_tensors

ALONE, LATE = "alone", "late"

CURVES = TypeAdapter(dict[str, tuple[EpochPoint, ...]])


@dataclass(frozen=True)
class FitJob:
    """One fit in the fold of that number: an encoder for each of `streams`, or one joint network of all of them.

    fusion: "alone", or the kind of a joint network. The first fit learns from the training clips and is asked about the
    validation clips; with `is_again` a network learns from both, in the same way.
    """

    fold: int
    streams: tuple[str, ...]
    fusion: str = ALONE
    is_again: bool = False

    @property
    def name(self) -> str:
        """Tells it from all other jobs of a run."""
        return f"fold {self.fold}, {self.fusion} {'+'.join(self.streams)}, {'again' if self.is_again else 'first'}"

    @property
    def what(self) -> str:
        """How progress names it."""
        streams = (
            ", ".join(self.streams) if self.fusion == ALONE else f"{self.fusion} fusion of {'+'.join(self.streams)}"
        )
        return f"fold {self.fold}, {streams}{', with validation clips' if self.is_again else ''}"


@dataclass(frozen=True)
class FitOutcome:
    """What a fit gave.

    tensors: the networks, as `training.tensors` names them: "stream/<name>" and "joint". scores: by stream the scores
    (n_windows, n_labels) of the validation clips in the order of `validation_plan`, of a first fit of encoders.
    """

    tensors: Tensors
    scores: dict[str, NDArray[np.float32]]
    curves: dict[str, tuple[EpochPoint, ...]]
    seconds: float


def plan_jobs(fold: Fold, recipe: Recipe, variants: Iterable[tuple[str, tuple[str, ...]]] = ()) -> list[FitJob]:
    """The fits that the models of `fold` call for.

    variants: more fusions that are wanted of it, each a kind and its streams; those of kind "late" need no fit.
    """
    every, asked = recipe.data.streams, recipe.fusion
    is_aligned = asked.kind == LATE and asked.contrastive > 0
    jobs = [FitJob(fold.number, streams) for streams in ((every,) if is_aligned else ((one,) for one in every))]
    for kind, streams in dict.fromkeys([(asked.kind, every), *variants]):
        if kind != LATE and len(streams) > 1:
            jobs.append(FitJob(fold.number, streams, kind))
    if recipe.fit.refit:
        jobs += [replace(job, is_again=True) for job in jobs]
    return jobs


def validation_plan(corpus: Corpus, fold: Fold) -> list[NDArray[np.int64]]:
    """The validation clips in the one order in which all streams are asked about them."""
    return corpus.loader.plan(tuple(corpus.loader.sources), fold.validation)


def run_job(
    job: FitJob,
    corpus: Corpus,
    recipe: Recipe,
    fabric: Fabric,
    *,
    keeper: EpochKeeper | None = None,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> FitOutcome:
    """Fit what `job` says. Raises InputError where a loss diverges."""
    started = time.monotonic()
    fold = next(fold for fold in corpus.folds if fold.number == job.fold)
    learned = np.union1d(fold.train, fold.validation) if job.is_again else fold.train
    watched = fold.validation[:0] if job.is_again else fold.validation
    if job.fusion != ALONE:
        asked = with_kind(recipe, job.fusion)
        joint = fit_joint(job.streams, corpus, learned, watched, asked, fabric, keeper=keeper, on_epoch=on_epoch)
        tensors = network_tensors(joint.network, "joint")
        return FitOutcome(tensors, {}, {JOINT: joint.curve}, time.monotonic() - started)
    fitted = fit_encoders(job.streams, corpus, learned, watched, recipe, fabric, keeper=keeper, on_epoch=on_epoch)
    tensors, scores = {}, {}
    for stream, found in fitted.items():
        tensors |= network_tensors(found.network, f"stream/{stream}")
        if len(watched):
            parts = [
                window_scores(found.network, chunk.frames[stream], scoring_windows(chunk.clips, corpus.ticks, recipe))
                for chunk in corpus.loader.read([stream], validation_plan(corpus, fold))
            ]
            scores[stream] = np.concatenate([part.numpy() for part in parts])
    curves = {stream: found.curve for stream, found in fitted.items()}
    return FitOutcome(tensors, scores, curves, time.monotonic() - started)


def outcome_to_file(outcome: FitOutcome) -> tuple[Tensors, dict[str, str]]:
    """An outcome as arrays and as text beside them, which is how safetensors files are made."""
    arrays: dict[str, NDArray[Any]] = {f"network/{name}": values for name, values in outcome.tensors.items()}
    arrays |= {f"scores/{stream}": np.ascontiguousarray(values) for stream, values in outcome.scores.items()}
    curves = {name: [point.model_dump() for point in curve] for name, curve in outcome.curves.items()}
    return arrays, {"curves": json.dumps(curves), "seconds": repr(outcome.seconds)}


def outcome_from_file(arrays: Tensors, text: dict[str, str]) -> FitOutcome:
    """What `outcome_to_file` took apart. Raises ValueError or KeyError where it is something else."""
    parts: dict[str, Tensors] = {"network": {}, "scores": {}}
    for name, values in arrays.items():
        kind, _, rest = name.partition("/")
        parts[kind][rest] = values
    return FitOutcome(parts["network"], parts["scores"], CURVES.validate_json(text["curves"]), float(text["seconds"]))
