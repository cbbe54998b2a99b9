"""A training run from a snapshot to a folder of results, and the same figures again from that folder.

    runs/<run_id>/metrics.json, recipe.toml, predictions.parquet, fold_<k>/model.{safetensors,json}

Every fit is a job (`training.jobs`); from their outcomes come the models of each fold, and the test clips are scored
last and decide nothing. The folder appears only when it is complete.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ValidationError

from storage_schema.errors import InputError, StoreError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.regular import read_regular
from storage_schema.snapshot import Snapshot
from storage_schema.store import Store
from training.ablation import Variant, ablate
from training.checkpoint import load_checkpoint, save_checkpoint
from training.corpus import Corpus, load_corpus
from training.fit import make_fabric
from training.fold import assemble_fold
from training.jobs import plan_jobs
from training.judge import Effort
from training.model import FoldModel
from training.recipe import Recipe, recipe_to_toml
from training.results import Provenance, RunResult
from training.unfinished import begin, find_unfinished
from training.verdict import PREDICTIONS, judge_run
from training.versions import library_versions
from training.workers import run_jobs

METRICS, RECIPE = "metrics.json", "recipe.toml"
MAX_METRICS_BYTES = 512 * 2**20
"""Far above the document of any run; whatever is longer is not read."""


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
    n_workers: int = 1,
    resume: bool = False,
    variants: Sequence[Variant] = (),
    on_progress: OnProgress = no_progress,
) -> RunResult:
    """Fit and judge what `recipe` asks for on `snapshot` (the newest by default), and write the run's folder.

    memory_bytes: what features may take in memory, by default half of what is free. n_workers: how many processes fit
    at the same time, where there is no GPU and all features fit into memory for each. resume: go on with the run of
    this recipe that was interrupted last, on its own snapshot. The same recipe and snapshot give the same figures on
    one machine, and where the features take more than the memory, with the same limit.
    variants: what else is to be judged, as the result's `ablation`.
    Raises InputError for all that cannot be done as asked: see `training.corpus.load_corpus`, and a `run_id` that is
    taken. What is fitted by then is kept for `resume`.
    """
    started = datetime.now(UTC)
    if resume:
        begun = find_unfinished(store, recipe, library_versions())
        name, fingerprints, memory_bytes = begun.run_id, begun.provenance.fingerprints, begun.provenance.memory_bytes
        pinned = store.snapshot(begun.provenance.snapshot)
    else:
        name = run_id or f"{re.sub('[^A-Za-z0-9]+', '-', recipe.data.dataset).strip('-')}-{started:%Y%m%d-%H%M%S}"
        pinned = store.snapshot() if snapshot is None else snapshot
        fingerprints, begun = recipe.data.fingerprints, None
    if store.has_run(name):
        raise InputError(f"there is a run {name!r} in the store at {store.uri} already; choose another run id")
    fabric = make_fabric(device)
    clap = begun.provenance.clap if begun else None
    corpus = load_corpus(pinned, recipe, fingerprints=fingerprints, memory_bytes=memory_bytes, clap=clap)
    loader = corpus.loader
    provenance = Provenance(
        snapshot=pinned.id,
        fingerprints={stream: spec.fingerprint for stream, spec in corpus.specs.items()},
        recipe=recipe_to_toml(recipe),
        versions=library_versions(),
        seed=recipe.fit.seed,
        started_at=started.isoformat(timespec="seconds"),
        memory_bytes=loader.limit_bytes,
        clap=corpus.clap.fingerprint,
    )
    unfinished = begun or begin(store, name, provenance)
    asked = [(variant.fusion, variant.streams) for variant in variants]
    with loader.clock.during("fitting"):
        jobs = [job for fold in corpus.folds for job in plan_jobs(fold, recipe, asked)]
        outcomes = run_jobs(jobs, corpus, recipe, fabric, unfinished, n_workers=n_workers, on_progress=on_progress)
        fitted = [assemble_fold(corpus, fold, recipe, outcomes, on_progress) for fold in corpus.folds]
    models = [one.model for one in fitted]
    efforts = {
        row: Effort(
            sum(one.seconds[row] for one in fitted), tuple(one.curves[row] for one in fitted if row in one.curves)
        )
        for row in fitted[0].seconds
    }
    if not loader.has_streamed:
        provenance = provenance.model_copy(update={"memory_bytes": None})
    with loader.clock.during("judging"):
        judged, predictions = judge_run(name, corpus, models, recipe, efforts, provenance, on_progress)
        rows = ablate(corpus, models, recipe, variants, outcomes, pinned) if variants else ()
    spent = loader.clock.seconds
    passed = (datetime.now(UTC) - started).total_seconds()
    timing = {**spent, "rest": max(0.0, passed - sum(spent.values()))}
    result = judged.model_copy(update={"ablation": rows, "timing": timing})
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
    unfinished.remove()
    return result


def evaluate(
    store: Store,
    run_id: str,
    snapshot: Snapshot | None = None,
    *,
    memory_bytes: int | None = None,
    on_progress: OnProgress = no_progress,
) -> RunResult:
    """The figures of a finished run, computed again from its checkpoints and the store.

    Each fold's models score the test clips of that fold. With another `snapshot` than the run's own, clips that came
    since are judged too where the dataset itself says that they are test clips. Raises what `open_finished` raises.
    """
    run = open_finished(store, run_id, snapshot, on_progress, memory_bytes=memory_bytes)
    efforts = {row.name: Effort(row.seconds, row.curves) for row in run.result.models}
    provenance = run.result.provenance.model_copy(update={"snapshot": run.snapshot.id})
    judged = judge_run(run_id, run.corpus, run.models, run.models[0].recipe, efforts, provenance, on_progress)[0]
    # The timing is that of the run, as are the seconds of its models.
    return judged.model_copy(update={"timing": run.result.timing})


def open_finished(
    store: Store,
    run_id: str,
    snapshot: Snapshot | None = None,
    on_progress: OnProgress = no_progress,
    *,
    memory_bytes: int | None = None,
) -> FinishedRun:
    """A finished run with the very features its models were fitted on, or the same ones of another `snapshot`.

    memory_bytes: what features may take in memory, by default half of what is free.
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
    corpus = load_corpus(
        pinned,
        first.recipe,
        fingerprints=written.provenance.fingerprints,
        labels=first.labels,
        memory_bytes=memory_bytes,
        clap=written.provenance.clap,
    )
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
