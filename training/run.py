"""A training run from a snapshot to a folder of results, and the same figures again from that folder.

    runs/<run_id>/metrics.json, recipe.toml, predictions.parquet, fold_<k>/model.{safetensors,json}

Per fold: every stream's encoder alone, chosen on validation; the fusion's weights, fitted on validation; then the
encoders once more on training and validation clips together; the test clips are scored last and decide nothing.
The folder appears only when it is complete.
"""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from storage_schema.errors import InputError, StoreError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.regular import read_regular
from storage_schema.snapshot import Snapshot
from storage_schema.store import Store
from training.checkpoint import load_checkpoint, save_checkpoint
from training.clap import PROBE, ZERO_SHOT
from training.corpus import Corpus, load_corpus
from training.fit import make_fabric
from training.fold import fit_fold
from training.judge import Effort, compare, draw_all, make_rows, score_clips
from training.loader import Chunk
from training.metrics import HEADLINE
from training.model import FoldModel
from training.recipe import Recipe, recipe_to_toml
from training.results import Provenance, RunResult
from training.scoring import RULE

METRICS, RECIPE, PREDICTIONS = "metrics.json", "recipe.toml", "predictions.parquet"
MAX_METRICS_BYTES = 512 * 2**20
"""Far above the document of any run; whatever is longer is not read."""
NOT_THEN = "there were no features of it when the run was made"
VERSIONS_OF = ("timbrel", "torch", "lightning-fabric", "numpy", "scikit-learn", "safetensors")

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


@dataclass(frozen=True)
class FinishedRun:
    """A run as it was written, and what its models can be asked about.

    `models[i]` is of the fold `corpus.folds[i]`; the corpus was read from `snapshot`.
    """

    result: RunResult
    models: tuple[FoldModel, ...]
    corpus: Corpus
    snapshot: Snapshot


def train(
    store: Store,
    recipe: Recipe,
    *,
    snapshot: Snapshot | None = None,
    device: str = "auto",
    run_id: str | None = None,
    memory_bytes: int | None = None,
    on_progress: OnProgress = no_progress,
) -> RunResult:
    """Fit and judge what `recipe` asks for on `snapshot` (the newest by default), and write the run's folder.

    memory_bytes: what features may take in memory, by default half of what is free. The same recipe and snapshot give
    the same figures on one machine, and where the features take more than that, with the same limit. Raises
    InputError for all that cannot be done as asked: see `training.corpus.load_corpus`, and a `run_id` that is taken.
    """
    started = datetime.now(UTC)
    pinned = store.snapshot() if snapshot is None else snapshot
    name = run_id or f"{re.sub('[^A-Za-z0-9]+', '-', recipe.data.dataset).strip('-')}-{started:%Y%m%d-%H%M%S}"
    if store.has_run(name):
        raise InputError(f"there is a run {name!r} in the store at {store.uri} already; choose another run id")
    fabric = make_fabric(device)
    on_progress("reading features", 0, 1)
    corpus = load_corpus(pinned, recipe, fingerprints=recipe.data.fingerprints, memory_bytes=memory_bytes)
    loader = corpus.loader
    if loader.fits(loader.sources):
        loader.hold(tuple(loader.sources))
    on_progress("reading features", 1, 1)
    with loader.clock.during("fitting"):
        fitted = [fit_fold(corpus, fold, recipe, fabric, on_progress) for fold in corpus.folds]
    models = [one.model for one in fitted]
    efforts = {
        row: Effort(
            sum(one.seconds[row] for one in fitted), tuple(one.curves[row] for one in fitted if row in one.curves)
        )
        for row in fitted[0].seconds
    }
    provenance = Provenance(
        snapshot=pinned.id,
        fingerprints={stream: spec.fingerprint for stream, spec in corpus.specs.items()},
        recipe=recipe_to_toml(recipe),
        versions=_versions(),
        seed=recipe.fit.seed,
        started_at=started.isoformat(timespec="seconds"),
        memory_bytes=loader.limit_bytes if loader.has_streamed else None,
        clap=corpus.clap.fingerprint,
    )
    with loader.clock.during("judging"):
        judged, predictions = _judge(name, corpus, models, recipe, efforts, provenance, on_progress)
    spent = loader.clock.seconds
    passed = (datetime.now(UTC) - started).total_seconds()
    result = judged.model_copy(update={"timing": {**spent, "rest": max(0.0, passed - sum(spent.values()))}})
    try:
        with store.new_run(name) as new:
            for fold, model in zip(corpus.folds, models, strict=True):
                (new / f"fold_{fold.number}").mkdir()
                save_checkpoint(new / f"fold_{fold.number}", model)
            pq.write_table(predictions, new / PREDICTIONS)
            (new / RECIPE).write_text(recipe_to_toml(recipe), encoding="utf-8")
            (new / METRICS).write_text(result.model_dump_json(indent=2), encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"another run {name!r} was finished meanwhile; choose another run id") from error
    return result


def evaluate(
    store: Store,
    run_id: str,
    snapshot: Snapshot | None = None,
    *,
    on_progress: OnProgress = no_progress,
) -> RunResult:
    """The figures of a finished run, computed again from its checkpoints and the store.

    Each fold's models score the test clips of that fold. With another `snapshot` than the run's own, clips that came
    since are judged too where the dataset itself says that they are test clips. Raises what `open_finished` raises.
    """
    run = open_finished(store, run_id, snapshot, on_progress)
    efforts = {row.name: Effort(row.seconds, row.curves) for row in run.result.models}
    provenance = run.result.provenance.model_copy(update={"snapshot": run.snapshot.id})
    judged = _judge(run_id, run.corpus, run.models, run.models[0].recipe, efforts, provenance, on_progress)[0]
    # The timing is that of the run, as are the seconds of its models.
    return judged.model_copy(update={"timing": run.result.timing})


def open_finished(
    store: Store, run_id: str, snapshot: Snapshot | None = None, on_progress: OnProgress = no_progress
) -> FinishedRun:
    """A finished run with the very features its models were fitted on, or the same ones of another `snapshot`.

    Raises StoreError for a run that is missing or damaged, InputError where the snapshot does not fit the models.
    """
    with store.open_run(run_id) as folder:
        written = read_result(folder)
        models = load_models(folder)
    pinned = store.snapshot(written.provenance.snapshot) if snapshot is None else snapshot
    first = next(iter(models.values()))
    if first.recipe.split.kind == "held_out" and pinned.id != written.provenance.snapshot:
        raise InputError(
            f"run {run_id} held its test clips out of snapshot {written.provenance.snapshot}; in snapshot {pinned.id} "
            "others would be drawn, some of which it has learned from"
        )
    on_progress("reading features", 0, 1)
    fingerprints, clap = written.provenance.fingerprints, written.provenance.clap
    corpus = load_corpus(pinned, first.recipe, fingerprints=fingerprints, labels=first.labels, clap=clap)
    on_progress("reading features", 1, 1)
    if [fold.number for fold in corpus.folds] != list(models):
        raise InputError(
            f"snapshot {pinned.id} has the folds {[fold.number for fold in corpus.folds]}, run {run_id} {list(models)}"
        )
    return FinishedRun(written, tuple(models.values()), corpus, pinned)


def read_result(folder: Path) -> RunResult:
    """What a run wrote to its `metrics.json`. Raises StoreError where there is none, or something else."""
    try:
        return RunResult.model_validate_json(read_regular(folder / METRICS, MAX_METRICS_BYTES))
    except OSError as error:
        raise StoreError(
            f"there is no finished run at {folder} ({error.strerror}); `timbrel status` names the newest"
        ) from error
    except ValidationError as error:
        raise StoreError(f"{folder / METRICS} is no result of a run ({error.error_count()} problems)") from error


def load_models(folder: Path) -> dict[int, FoldModel]:
    """The models of every fold of a run, by the fold's number. Raises StoreError where they are missing or damaged."""
    numbers = sorted(
        int(path.name.removeprefix("fold_")) for path in folder.glob("fold_*") if path.name[5:].isdecimal()
    )
    if not numbers:
        raise StoreError(f"there are no models in {folder}; name the folder of a finished run")
    return {number: load_checkpoint(folder / f"fold_{number}") for number in numbers}


def _judge(
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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
