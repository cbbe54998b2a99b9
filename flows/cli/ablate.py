"""The command `timbrel ablate`: train, and say what each stream and each way of fusing is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    DeviceOption,
    JsonOption,
    MemoryOption,
    RecipeSetOption,
    ResumeOption,
    SeedOption,
    SnapshotOption,
    StoreOption,
    WorkersOption,
    recipe_settings,
)
from flows.cli.output import points, print_json, print_result, print_table, say, share

if TYPE_CHECKING:
    from training.results import RunResult


def ablate_command(
    recipe: Annotated[Path, typer.Argument(help="A TOML file that says what to train; see recipes/.")],
    store: StoreOption,
    full: Annotated[
        bool, typer.Option("--full", help="Every fusion of every subset of streams, and not of all streams only.")
    ] = False,
    settings: RecipeSetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    snapshot: SnapshotOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train, then judge every subset of the streams, and every fusion of all of them.

    Is this stream worth it? The report shows it as a plot, with what each stream costs to extract and to keep.

    Example: timbrel ablate recipes/esc10.toml --store features.timbrel
    """
    from flows.display import progress
    from storage_schema.store import open_store
    from training.ablation import choose_variants
    from training.memory import parse_memory
    from training.recipe import load_recipe
    from training.report import write_report
    from training.run import train
    from training.workers import n_cores

    plan = load_recipe(recipe, recipe_settings(settings, seed))
    opened = open_store(store)
    with progress(quiet=as_json) as show:
        result = train(
            opened,
            plan,
            snapshot=opened.snapshot(snapshot),
            device=device,
            memory_bytes=None if memory is None else parse_memory(memory),
            n_workers=workers or n_cores(),
            resume=resume,
            variants=choose_variants(plan, is_full=full),
            on_progress=show,
        )
    report = write_report(opened, result)
    if as_json:
        print_json(result.model_dump() | {"report": report})
        return
    print_result(result, title=f"run {result.run_id}")
    print_ablation(result)
    say(f"report: {report}")


def print_ablation(result: "RunResult") -> None:
    """The table of an ablation, best first; the difference is to all streams by the same fusion, clip by clip."""
    ordered = [row for row in result.ablation if result.headline in row.metrics]
    ordered.sort(key=lambda row: -row.metrics[result.headline].value)
    print_table(
        (
            "streams",
            "fusion",
            f"{result.headline} [95 %]",
            "minus all, paired",
            "parameters",
            "fit, s",
            "extract, s/h",
            "MB/h",
        ),
        [
            (
                " ".join(row.streams),
                row.fusion,
                share(row.metrics[result.headline]),
                "–" if row.minus_all is None else points(row.minus_all),
                row.n_parameters,
                f"{row.train_s:.1f}",
                "–" if row.extract_s_per_hour is None else f"{row.extract_s_per_hour:.0f}",
                "–" if row.bytes_per_hour is None else f"{row.bytes_per_hour / 1e6:.1f}",
            )
            for row in ordered
        ],
        title="every subset and every fusion",
    )
