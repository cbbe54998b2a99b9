"""What a run's models say of its test clips, and what that makes: the run's document, and a table of predictions."""

import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage_schema.progress import OnProgress
from training.clap import PROBE, ZERO_SHOT
from training.corpus import Corpus
from training.judge import Effort, compare, draw_all, make_rows, score_clips
from training.loader import Chunk
from training.metrics import HEADLINE
from training.model import FoldModel
from training.recipe import Recipe
from training.results import Provenance, RunResult
from training.scoring import RULE

PREDICTIONS = "predictions.parquet"
NOT_THEN = "there were no features of it when the run was made"
PREDICTED = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("model", pa.string()),
        pa.field("fold", pa.int32()),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("probabilities", pa.list_(pa.float32())),
    ]
)
"""`predictions.parquet`: what every model said about every test clip."""


def judge_run(
    run_id: str,
    corpus: Corpus,
    models: Sequence[FoldModel],
    recipe: Recipe,
    efforts: Mapping[str, Effort],
    provenance: Provenance,
    on_progress: OnProgress,
) -> tuple[RunResult, pa.Table]:
    """The run's document, and every test clip's probabilities by every model."""
    n_steps = len(corpus.folds) + 1  # a fold's scores each, then the intervals of all
    by_fold = []
    for done, (fold, model) in enumerate(zip(corpus.folds, models, strict=True)):
        on_progress("judging", done, n_steps)
        found = corpus.loader.each(tuple(model.specs), fold.test, partial(_score, model, corpus.ticks))
        aside = {name: baseline for name, baseline in model.baselines.items() if name not in found}
        found |= corpus.clap.score(aside, fold.test, corpus.task)
        by_fold.append({name: found[name] for name in [*model.baselines, *found] if name in found})  # baselines first
    on_progress("judging", n_steps - 1, n_steps)
    probabilities = {name: np.concatenate([found[name] for found in by_fold]) for name in by_fold[0]}
    targets = np.concatenate([corpus.targets[fold.test] for fold in corpus.folds])
    draws = draw_all(corpus.task, targets, probabilities, recipe.fit.seed)
    left_out = f"; {corpus.n_left_out} clips without all features were left out" if corpus.n_left_out else ""
    result = RunResult(
        run_id=run_id,
        dataset=recipe.data.dataset,
        task=corpus.task,
        headline=HEADLINE[corpus.task],
        labels=corpus.labels,
        n_train=round(np.mean([len(fold.train) for fold in corpus.folds])),
        n_validation=round(np.mean([len(fold.validation) for fold in corpus.folds])),
        n_test=len(targets),
        n_folds=len(corpus.folds),
        rule=RULE + left_out,
        notes=corpus.notes,
        models=make_rows(models, targets, probabilities, draws, efforts),
        not_run={name: corpus.clap.not_run.get(name, NOT_THEN) for name in (ZERO_SHOT, PROBE) if name not in draws},
        comparisons=compare(corpus.task, recipe.data.streams, draws),
        provenance=provenance,
    )
    on_progress("judging", n_steps, n_steps)
    return result, _prediction_table(corpus, by_fold)


def _score(model: FoldModel, ticks: NDArray[np.int64], chunk: Chunk) -> dict[str, NDArray[np.float32]]:
    return score_clips(model, chunk.frames, chunk.clips, ticks)


def _prediction_table(corpus: Corpus, by_fold: Sequence[Mapping[str, NDArray[np.float32]]]) -> pa.Table:
    """One row per test clip and model; the probabilities are in the order of the labels in the table's metadata."""
    rows = [
        (example.clip_id, example.uri, name, fold.number, list(example.labels), values[i])
        for fold, found in zip(corpus.folds, by_fold, strict=True)
        for name, values in found.items()
        for i, example in enumerate(corpus.examples[clip] for clip in fold.test)
    ]
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), PREDICTED, strict=True)]
    return pa.table(columns, schema=PREDICTED.with_metadata({"labels": json.dumps(corpus.labels)}))
