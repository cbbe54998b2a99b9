"""Commands that keep a store up to date: refresh once, serve on a schedule."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.options import (
    ALL_DEFAULT_STREAMS,
    DeviceOption,
    JsonOption,
    LogJsonOption,
    SchedulerOption,
    SetOption,
    SettingsOption,
    StoreOption,
    StreamsOption,
    WorkersOption,
    parse_cluster,
    parse_parameters,
    parse_specs,
    parse_streams,
)
from flows.cli.output import print_json, print_result, say

RootOption = Annotated[
    str, typer.Option("--root", "-r", help="Where the recordings lie: a folder or s3://bucket/prefix.")
]
KindOption = Annotated[str, typer.Option("--kind", help="folder, csv, esc50, fsd50k, urbansound8k or general_midi.")]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="Train this where there is anything new; without it, only extract.")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="File the clips under this name.")]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="PREFECT_API_URL",
        help="A running Prefect server, such as http://127.0.0.1:4200/api.",
        show_default="one is started",
    ),
]


def refresh_command(
    store: StoreOption,
    root: RootOption,
    kind: KindOption = "folder",
    recipe: RecipeOption = None,
    dataset: DatasetOption = None,
    streams: StreamsOption = ALL_DEFAULT_STREAMS,
    settings: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    settings_file: SettingsOption = None,
    server: ServerOption = None,
    log_json: LogJsonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest, extract, and train where there is anything new; put the new model in use where it is not worse.

    Example: timbrel refresh --store features.timbrel --root recordings --recipe recipe.toml
    """
    parameters = _checked(
        store, root, kind, recipe, dataset, streams, settings, workers, device, scheduler, settings_file
    )
    from flows.server import name_server, start_server

    if server is not None:
        name_server(server)
    start_server()
    from flows.display import progress
    from flows.refresh import refresh_flow

    with progress(quiet=as_json, as_json=log_json):
        report = refresh_flow(**parameters)
    if as_json:
        print_json(
            {
                "ingest": vars(report.ingest),
                "extraction": vars(report.extraction),
                "training": report.training.model_dump() if report.training else None,
                "promotion": vars(report.promotion) if report.promotion else None,
            }
        )
    else:
        if report.training is not None:
            print_result(report.training, title=f"run {report.training.run_id}")
        for sentence in report.sentences():
            say(sentence)
    if not report.is_complete:
        if not as_json:
            say("some clips failed; `timbrel quarantine list` says which and why")
        raise typer.Exit(1)


def serve_command(
    store: StoreOption,
    root: RootOption,
    cron: Annotated[str | None, typer.Option("--cron", help="When, as in a crontab.", show_default=False)] = None,
    every: Annotated[
        float | None, typer.Option("--every", min=1, metavar="SECONDS", help="In place of --cron.", show_default=False)
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of the cron line, such as Europe/Berlin.", show_default="UTC")
    ] = None,
    kind: KindOption = "folder",
    recipe: RecipeOption = None,
    dataset: DatasetOption = None,
    streams: StreamsOption = ALL_DEFAULT_STREAMS,
    settings: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    settings_file: SettingsOption = None,
    server: ServerOption = None,
    host: Annotated[str, typer.Option("--host", help="Where the server that is started listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="And on which port.")] = 4200,
    log_json: LogJsonOption = False,
) -> None:
    """Refresh a store on a schedule, until Ctrl-C; Prefect's page shows what happened.

    Two runs never overlap: one that is due while another runs is cancelled. What was missed while nothing served is
    made up for once. Ending this command leaves the schedule in Prefect's database; it goes on when the same command
    is run again.

    Example: timbrel serve --cron "0 2 * * *" --store features.timbrel --root recordings --recipe recipe.toml
    """
    parameters = _checked(
        store, root, kind, recipe, dataset, streams, settings, workers, device, scheduler, settings_file
    )
    from contextlib import ExitStack

    from flows.display import STYLE_VARIABLE
    from flows.server import name_server, whole_server

    os.environ[STYLE_VARIABLE] = "json" if log_json else "lines"
    with ExitStack() as stack:
        if server is None:
            server = stack.enter_context(whole_server(host, port))
        name_server(server)
        from flows.serve import Schedule, only_server_of, serve_until_interrupted

        schedule = Schedule(cron, every, timezone)
        schedule.checked()
        stack.enter_context(only_server_of(parameters["store"]))
        page = server.removesuffix("/api")
        say(f"serving {parameters['store']} with Prefect at {page}; Ctrl-C ends it")
        sys.stdout.flush()
        try:
            serve_until_interrupted(parameters["store"], schedule, parameters)
        finally:
            say("no longer serving; the schedule stays, and goes on when the same command is run again")


def _checked(
    store: str,
    root: str,
    kind: str,
    recipe: Path | None,
    dataset: str | None,
    streams: str,
    settings: list[str] | None,
    workers: int | None,
    device: str,
    scheduler: str | None,
    settings_file: str | None,
) -> dict[str, Any]:
    """The flow's parameters; every wrong word is said here, before anything is started. Paths become absolute."""
    from pipeline.ingest import list_clips
    from training.recipe import load_recipe

    names = parse_streams(streams)
    parse_specs(streams, settings)
    parse_cluster(scheduler, settings_file)
    list_clips(kind, root)
    if recipe is not None:
        load_recipe(recipe)
    return {
        "store": _absolute(store),
        "root": _absolute(root),
        "kind": kind,
        "recipe": None if recipe is None else _absolute(str(recipe)),
        "dataset": dataset,
        "streams": names,
        "parameters": parse_parameters(settings, names),
        "workers": workers,
        "scheduler": scheduler,
        "settings": None if settings_file is None else _absolute(settings_file),
        "device": device,
    }


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).expanduser().absolute())
