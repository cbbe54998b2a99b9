"""Commands on models: train, evaluate, predict."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DeviceOption, JsonOption, RunSnapshotOption, SnapshotOption, StoreOption, checked_run
from flows.cli.output import print_json, print_result, print_table, say


def train_command(
    recipe: Annotated[Path, typer.Argument(help="A TOML file that says what to train; see recipes/.")],
    store: StoreOption,
    device: DeviceOption = "auto",
    snapshot: SnapshotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit every stream alone and their fusion from the store, evaluate them, and write a report.

    Example: timbrel train recipes/esc10.toml --store features.timbrel
    """
    from flows.display import progress
    from storage_schema.store import open_store
    from training.recipe import load_recipe
    from training.report import write_report
    from training.run import train

    plan = load_recipe(recipe)
    opened = open_store(store)
    with progress(quiet=as_json) as show:
        result = train(opened, plan, snapshot=opened.snapshot(snapshot), device=device, on_progress=show)
    report = write_report(opened.run_folder(result.run_id), result)
    if as_json:
        print_json(result.model_dump() | {"report": str(report)})
    else:
        print_result(result, title=f"run {result.run_id}")
        say(f"report: {report}")


def evaluate_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    store: StoreOption,
    snapshot: RunSnapshotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run's models again, from its checkpoints and the features in the store.

    Example: timbrel evaluate esc50-20260101-120000 --store features.timbrel
    """
    from flows.display import progress
    from storage_schema.store import open_store
    from training.run import evaluate

    checked_run(store, run)
    opened = open_store(store)
    with progress(quiet=as_json) as show:
        result = evaluate(opened, run, None if snapshot is None else opened.snapshot(snapshot), on_progress=show)
    if as_json:
        print_json(result.model_dump())
    else:
        print_result(result, title=f"run {run}, evaluated again")


def predict_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    files: Annotated[list[Path], typer.Argument(help="Recordings of any length and rate.")],
    store: StoreOption,
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to print a file.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Say what is heard in recordings, through the very extractors the run was trained on.

    Example: timbrel predict esc50-20260101-120000 bark.wav --store features.timbrel
    """
    from flows.display import progress
    from flows.predict import predict_files

    folder = checked_run(store, run)
    with progress(quiet=as_json) as show:
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
