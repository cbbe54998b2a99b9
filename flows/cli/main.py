"""`timbrel`: the commands put together, and what becomes of errors.

Exit code 0: all that was asked for was done. 1: some clips failed, or something was found that is not well. 2: the
question was wrong, or the store is not what was expected. 130: interrupted.
"""

import sys

import typer

from flows.cli import ablate, explain, export, models, nightly, quarantine, robustness, run, store, upkeep, weights
from flows.cli.output import printable
from storage_schema.errors import ContractError, TimbrelError

_INTERRUPTED = 130
"""What typer makes of Ctrl-C, as shells do: 128 and the number of the signal."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""A store of audio features, filled once, and sound classifiers fitted from it in minutes.

    Example:

      timbrel ingest esc50 ESC-50 --store features.timbrel

      timbrel extract --store features.timbrel

      timbrel train recipes/esc10.toml --store features.timbrel
    """,
)
app.command("ingest")(store.ingest_command)
app.command("plan")(store.plan_command)
app.command("extract")(store.extract_command)
app.command("status")(store.status_command)
app.command("train")(models.train_command)
app.command("ablate")(ablate.ablate_command)
app.command("evaluate")(models.evaluate_command)
app.command("predict")(models.predict_command)
app.command("explain")(explain.explain_command)
app.command("robustness")(robustness.robustness_command)
app.command("export")(export.export_command)
app.command("run")(run.run_command)
app.command("refresh")(nightly.refresh_command)
app.command("serve")(nightly.serve_command)
app.command("demo")(run.demo_command)
app.command("snapshots")(upkeep.snapshots_command)
app.command("verify")(upkeep.verify_command)
app.command("repair")(upkeep.repair_command)
app.command("compact")(upkeep.compact_command)
app.command("gc")(upkeep.gc_command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(weights.app, name="weights")


def main() -> None:
    """Run one command; what a person can mend is a sentence, only a bug is a traceback."""
    try:
        app()
    except ContractError:
        raise
    except TimbrelError as error:
        print(f"timbrel: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            print(
                "timbrel: interrupted; what was committed stays, the rest is done by the same command again "
                "(train and ablate: with --resume)",
                file=sys.stderr,
            )
        raise
