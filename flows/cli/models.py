"""Commands on models: train, evaluate, predict."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    DeviceOption,
    JsonOption,
    MemoryOption,
    RecipeSetOption,
    ResumeOption,
    RunSnapshotOption,
    SeedOption,
    SnapshotOption,
    StoreOption,
    WorkersOption,
    open_store_of,
    recipe_settings,
)
from flows.cli.output import print_json, print_result, print_table, say
from storage_schema.errors import InputError


def train_command(
    store: StoreOption,
    recipe: Annotated[
        Path | None, typer.Argument(help="A TOML file that says what to train; see recipes/.", show_default=False)
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", metavar="RUN", help="Repeat this run: its recipe on its snapshot.")
    ] = None,
    settings: RecipeSetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    snapshot: SnapshotOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit every stream alone and their fusion from the store, evaluate them, and write a report.

    Example: timbrel train recipes/esc10.toml --set fit.epochs=5 --store features.timbrel
    """
    if (recipe is None) == (like is None):
        raise InputError("name a recipe, as in `timbrel train recipes/esc10.toml`, or a run to repeat with --like RUN")
    changes = recipe_settings(settings, seed)
    if like is not None and changes:
        raise InputError("--like repeats a run as it was; leave --set and --seed out, or name a recipe")
    if like is not None and (snapshot is not None or memory is not None or resume):
        raise InputError(
            "--like takes snapshot and memory from the run it repeats; leave --snapshot, --memory and --resume out"
        )
    if resume and (snapshot is not None or memory is not None):
        raise InputError(
            "--resume goes on with the snapshot and memory it began with; leave --snapshot and --memory out"
        )
    from flows.display import progress
    from storage_schema.store import open_store
    from training.memory import parse_memory
    from training.recipe import load_recipe
    from training.repeat import Repetition, repeat
    from training.report import write_report
    from training.run import train
    from training.workers import n_cores

    memory_bytes = None if memory is None else parse_memory(memory)
    plan = None if recipe is None else load_recipe(recipe, changes)
    opened = open_store(store) if like is None else open_store_of(store, like)
    repetition: Repetition | None = None
    with progress(quiet=as_json) as show:
        if plan is not None:
            result = train(
                opened,
                plan,
                snapshot=opened.snapshot(snapshot),
                device=device,
                memory_bytes=memory_bytes,
                n_workers=workers or n_cores(),
                resume=resume,
                on_progress=show,
            )
        else:
            assert like is not None
            repetition = repeat(opened, like, device=device, n_workers=workers or n_cores(), on_progress=show)
            result = repetition.again
    report = write_report(opened, result)
    if as_json:
        print_json(result.model_dump() | {"report": report})
        return
    print_result(result, title=f"run {result.run_id}")
    say(f"report: {report}")
    if repetition is not None:
        differences = ", ".join(repetition.differences)
        say(f"other figures than run {like}: {differences}" if differences else f"the same figures as run {like}")
        if repetition.changed_versions:
            say(f"other libraries: {', '.join(repetition.changed_versions)}")


def evaluate_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    store: StoreOption,
    snapshot: RunSnapshotOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run's models again, from its checkpoints and the features in the store.

    Example: timbrel evaluate esc50-20260101-120000 --store features.timbrel
    """
    from flows.display import progress
    from training.memory import parse_memory
    from training.run import evaluate

    memory_bytes = None if memory is None else parse_memory(memory)
    opened = open_store_of(store, run)
    judged_on = None if snapshot is None else opened.snapshot(snapshot)
    with progress(quiet=as_json) as show:
        result = evaluate(opened, run, judged_on, memory_bytes=memory_bytes, on_progress=show)
    if as_json:
        print_json(result.model_dump())
    else:
        print_result(result, title=f"run {run}, evaluated again")


def predict_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    files: Annotated[list[str], typer.Argument(help="Recordings of any length and rate, paths or s3:// uris.")],
    store: StoreOption,
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to print a file.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Say what is heard in recordings, through the very extractors the run was trained on.

    Example: timbrel predict esc50-20260101-120000 bark.wav --store features.timbrel
    """
    from flows.display import progress
    from flows.predict import predict_files

    with open_store_of(store, run).open_run(run) as folder, progress(quiet=as_json) as show:
        predictions = predict_files(folder, files, on_progress=show)
    if as_json:
        print_json([vars(prediction) for prediction in predictions])
    else:
        rows = [
            (prediction.file, prediction.problem or "; ".join(f"{label} {p:.3f}" for label, p in prediction.best(top)))
            for prediction in predictions
        ]
        print_table(("file", "heard"), rows)
    raise typer.Exit(1 if any(prediction.problem for prediction in predictions) else 0)
