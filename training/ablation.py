"""Which streams are worth having, and which way of fusing them: every choice judged on the same test clips.

Streams fitted apart are fitted once and serve every late fusion they take part in; each joint network is a fit of its
own. Costs of extraction are what the store's rows say the streams have cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storage_schema.measured import measure
from storage_schema.snapshot import Snapshot
from training.bootstrap import intervals, paired_difference
from training.corpus import Corpus
from training.encoders import n_parameters
from training.fold import fit_late
from training.fusion import Fusion, fuse
from training.inputs import encoder_shape
from training.jobs import ALONE, LATE, FitJob, FitOutcome, plan_jobs
from training.joint import JointModel, make_joint
from training.judge import draw_all
from training.loader import Chunk
from training.metrics import HEADLINE
from training.model import FoldModel
from training.recipe import KINDS, Recipe, with_kind
from training.results import AblationRow
from training.scoring import as_array, clip_probabilities, joint_scores, owners, scoring_windows, window_scores
from training.splits import Fold
from training.tensors import fill


@dataclass(frozen=True)
class Variant:
    """One choice: how to fuse, and which streams; "alone" where there is one."""

    fusion: str
    streams: tuple[str, ...]


def choose_variants(recipe: Recipe, *, is_full: bool) -> list[Variant]:
    """Every subset of the recipe's streams by its own fusion, and every other fusion of all streams.

    is_full: every fusion of every subset, which is as many joint fits more.
    """
    every = recipe.data.streams
    variants = []
    for size in range(1, len(every) + 1):
        for streams in combinations(every, size):
            kinds = KINDS if is_full or streams == every else (recipe.fusion.kind,)
            variants += [Variant(kind, streams) for kind in (kinds if size > 1 else (ALONE,))]
    return variants


def ablate(
    corpus: Corpus,
    models: Sequence[FoldModel],
    recipe: Recipe,
    variants: Sequence[Variant],
    outcomes: Mapping[FitJob, FitOutcome],
    snapshot: Snapshot,
) -> tuple[AblationRow, ...]:
    """One row a variant, over the test clips of all folds together.

    outcomes: of all jobs that `plan_jobs` has for `variants`, in every fold of `corpus`; `models[i]` is of fold i.
    """
    by_fold, sizes = [], {}
    for fold, model in zip(corpus.folds, models, strict=True):
        fusions = {variant: _fusion(variant, corpus, fold, recipe, outcomes) for variant in variants}
        sizes = {variant: _size(variant, model, fusion) for variant, fusion in fusions.items()}
        by_fold.append(corpus.loader.each(tuple(model.specs), fold.test, partial(_score, model, fusions, corpus.ticks)))
    probabilities = {_name(one): np.concatenate([found[_name(one)] for found in by_fold]) for one in variants}
    targets = np.concatenate([corpus.targets[fold.test] for fold in corpus.folds])
    draws = draw_all(corpus.task, targets, probabilities, recipe.fit.seed)
    figures = {name: intervals(drawn) for name, drawn in draws.items()}
    costs = {stream: _cost(snapshot, stream, spec.fingerprint) for stream, spec in corpus.specs.items()}
    metric, rows = HEADLINE[corpus.task], []
    for variant in variants:
        whole = _name(Variant(variant.fusion, recipe.data.streams))
        is_part = whole in draws and whole != _name(variant) and metric in figures[whole]
        seconds, n_bytes = (_sum(costs[stream][i] for stream in variant.streams) for i in (0, 1))
        row = AblationRow(
            streams=variant.streams,
            fusion=variant.fusion,
            metrics=figures[_name(variant)],
            minus_all=paired_difference(draws[_name(variant)], draws[whole], metric) if is_part else None,
            n_parameters=sizes[variant],
            train_s=sum(_seconds(variant, fold, recipe, outcomes) for fold in corpus.folds),
            extract_s_per_hour=seconds,
            bytes_per_hour=n_bytes,
        )
        rows.append(row)
    return tuple(rows)


def _fusion(
    variant: Variant, corpus: Corpus, fold: Fold, recipe: Recipe, outcomes: Mapping[FitJob, FitOutcome]
) -> Fusion | JointModel | None:
    """What brings the variant's streams together in one fold; None for a stream alone."""
    if variant.fusion == ALONE:
        return None
    jobs = plan_jobs(fold, recipe, [(variant.fusion, variant.streams)])
    if variant.fusion == LATE:
        scores = {
            stream: torch.from_numpy(values)
            for job in jobs
            for stream, values in outcomes[job].scores.items()
            if stream in variant.streams
        }
        return fit_late(corpus, fold, recipe, {stream: scores[stream] for stream in variant.streams})
    specs = {stream: corpus.specs[stream] for stream in variant.streams}
    shapes = {stream: encoder_shape(spec, len(corpus.labels), recipe) for stream, spec in specs.items()}
    joint = make_joint(with_kind(recipe, variant.fusion), shapes)
    kept = FitJob(fold.number, variant.streams, variant.fusion, is_again=recipe.fit.refit)
    fill(joint, "joint", outcomes[kept].tensors)
    return joint


def _score(
    model: FoldModel,
    fusions: Mapping[Variant, Fusion | JointModel | None],
    ticks: NDArray[np.int64],
    chunk: Chunk,
) -> dict[str, NDArray[np.float32]]:
    """The probabilities (n_clips, n_labels) of every variant."""
    windows = scoring_windows(chunk.clips, ticks, model.recipe)
    apart = {name: window_scores(encoder, chunk.frames[name], windows) for name, encoder in model.encoders.items()}
    found = {}
    for variant, fusion in fusions.items():
        heard: Tensor
        if isinstance(fusion, JointModel):
            heard = joint_scores(fusion, {stream: chunk.frames[stream] for stream in variant.streams}, windows)
        elif fusion is not None:
            heard = fuse({stream: apart[stream] for stream in variant.streams}, fusion)
        else:
            heard = apart[variant.streams[0]]
        found[_name(variant)] = as_array(clip_probabilities(heard, owners(windows), model.task))
    return found


def _size(variant: Variant, model: FoldModel, fusion: Fusion | JointModel | None) -> int:
    if isinstance(fusion, JointModel):
        return n_parameters(fusion)
    n_weights = 0 if fusion is None else len(fusion.weights)
    return sum(n_parameters(model.encoders[stream]) for stream in variant.streams) + n_weights


def _seconds(variant: Variant, fold: Fold, recipe: Recipe, outcomes: Mapping[FitJob, FitOutcome]) -> float:
    """The time that the variant's own fits took in one fold."""
    total = 0.0
    for job in plan_jobs(fold, recipe, [(variant.fusion, variant.streams)]):
        if variant.fusion in (ALONE, LATE) and job.fusion == ALONE:
            total += outcomes[job].seconds * len(set(variant.streams) & set(job.streams)) / len(job.streams)
        elif job.fusion == variant.fusion and job.streams == variant.streams:
            total += outcomes[job].seconds
    return total


def _cost(snapshot: Snapshot, stream: str, fingerprint: str) -> tuple[float | None, float | None]:
    """Seconds of one core, and bytes in the store, for an hour of audio; None where nothing was measured."""
    found = measure(snapshot, stream, fingerprint)
    if found is None or not found.audio_s:
        return None, None
    return 3600 * found.elapsed_s / found.audio_s, 3600 * found.n_bytes / found.audio_s


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else float(sum(value for value in known if value is not None))


def _name(variant: Variant) -> str:
    return f"{variant.fusion} {' '.join(variant.streams)}"
