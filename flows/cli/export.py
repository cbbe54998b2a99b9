"""`timbrel export`: a run's models for programs that have neither torch nor the store."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, StoreOption, open_store_of
from flows.cli.output import print_json, say


def export_command(
    run: Annotated[str, typer.Argument(help="The id of a run, as `timbrel status` lists it.")],
    store: StoreOption,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="A new folder.", show_default="RUN.export")
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", help="Only this fold's models.", show_default="all, averaged")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's fusion as one ONNX file, safetensors, and a JSON that says what they take and give.

    Example: timbrel export esc50-20260101-120000 --to barks --store features.timbrel
    """
    from flows.export import export_run

    with open_store_of(store, run).open_run(run) as folder:
        export = export_run(folder, Path(f"{run}.export") if to is None else to, fold)
    if as_json:
        print_json(export)
        return
    folds = ", ".join(map(str, export.folds))
    say(f"fold{'s' if len(export.folds) > 1 else ''} {folds}: {export.folder}, {export.n_bytes:,} bytes")
    say(f"run once by ONNX Runtime: probabilities within {export.difference:.1g} of the run's own")
