"""Commands that do the whole: run, demo."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    ALL_DEFAULT_STREAMS,
    DeviceOption,
    JsonOption,
    LogJsonOption,
    RootArgument,
    RunSetOption,
    SchedulerOption,
    SeedOption,
    SettingsOption,
    StoreOption,
    StreamsOption,
    WorkersOption,
    parse_cluster,
    parse_parameters,
    parse_specs,
    parse_streams,
    recipe_settings,
)
from flows.cli.output import print_json, print_result, say
from storage_schema.errors import InputError


def run_command(
    kind: Annotated[str, typer.Argument(help="folder, csv, esc50, fsd50k, urbansound8k or general_midi.")],
    root: RootArgument,
    store: StoreOption,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Train this; without it, only extract.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="File the clips under this name.")] = None,
    streams: StreamsOption = ALL_DEFAULT_STREAMS,
    settings: RunSetOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    settings_file: SettingsOption = None,
    log_json: LogJsonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest, extract and train in one Prefect flow; what is done already is not done again.

    Example: timbrel run esc50 ESC-50 --recipe recipes/esc10.toml --set fit.epochs=5 --store features.timbrel
    """
    from pipeline.ingest import list_clips
    from training.recipe import Recipe, load_recipe

    names = parse_streams(streams)
    cluster = parse_cluster(scheduler, settings_file)
    of_recipe = [setting for setting in settings or () if setting.partition(".")[0].strip() in Recipe.model_fields]
    of_streams = [setting for setting in settings or () if setting not in of_recipe]
    changes = recipe_settings(of_recipe, seed)
    if changes and recipe is None:
        raise InputError("--seed and settings of a recipe need one; name it with --recipe, or leave them out")
    parse_specs(streams, of_streams)  # every wrong word is said before the first stage starts
    list_clips(kind, root)
    if recipe is not None:
        load_recipe(recipe, changes)
    from flows.display import progress
    from flows.server import start_server
    from flows.train import report_path
    from flows.whole import whole_flow

    start_server()
    with progress(quiet=as_json, as_json=log_json):
        report = whole_flow(
            store,
            kind,
            root,
            recipe,
            dataset,
            names,
            parse_parameters(of_streams, names),
            workers,
            device,
            cluster,
            changes,
        )
    if as_json:
        document = {"ingest": vars(report.ingest), "extraction": vars(report.extraction)}
        print_json(document | {"training": report.training.model_dump() if report.training else None})
    else:
        computed = ", ".join(f"{n:,} {stream}" for stream, n in report.extraction.n_ok.items())
        say(f"{report.ingest.dataset}: {report.ingest.n_listed:,} files; clips computed: {computed}")
        if report.training is not None:
            print_result(report.training, title=f"run {report.training.run_id}")
            say(f"report: {report_path(store, report.training)}")
    if not (report.extraction.is_complete and report.ingest.n_problems == 0):
        if not as_json:
            say("some clips failed; `timbrel status` says which and why")
        raise typer.Exit(1)


def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where sounds, store and report go.")] = Path("timbrel-demo"),
    notes: Annotated[int, typer.Option("--notes", min=4, help="Notes an instrument.")] = 8,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Render 128 General MIDI instruments, extract four streams, train each alone and their fusion, report.

    Example: timbrel demo /tmp/demo
    """
    from flows.demo import run_demo
    from flows.display import progress

    with progress(quiet=as_json):
        demo = run_demo(folder, n_notes=notes, n_workers=workers)
    if as_json:
        print_json(demo.result.model_dump() | {"report": str(demo.report), "elapsed_s": demo.elapsed_s})
        return
    print_result(demo.result, title="128 General MIDI instruments, notes never heard in training")
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in demo.stage_s.items())
    say(f"{demo.elapsed_s:.0f} s in all: {stages}")
    say(f"report: {demo.report}")
