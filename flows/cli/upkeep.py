"""Commands that look after a store: verify, repair, gc, compact, snapshots."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from features.registry import STREAMS, spec_for
from flows.cli.options import JsonOption, SetOption, StoreOption, parse_parameters, parse_streams
from flows.cli.output import print_json, print_table, say
from storage_schema.errors import InputError, StoreError
from storage_schema.streams import StreamSpec

if TYPE_CHECKING:
    from storage_schema.store import Store

SomeStreamsOption = Annotated[
    str | None, typer.Option("--streams", help="Only these streams, separated by commas.", show_default="all")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

_GRACE = re.compile(r"(\d{1,6})(m|h|d)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def verify_command(store: StoreOption, streams: SomeStreamsOption = None, as_json: JsonOption = False) -> None:
    """Read every byte of the store and say what is not as it was written, and what to run.

    Exit code 0: all is well; 1: something was found. Information, such as a part that nobody names, harms nobody.

    Example: timbrel verify --store features.timbrel
    """
    from flows.display import progress
    from storage_schema.upkeep.verify import verify

    with _opened(store) as opened, progress(quiet=as_json) as show:
        findings = list(verify(opened, _some(streams), show))
    n_errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.severity}: {finding.where}\n  {finding.what}\n  {finding.remedy}")
        say(f"{n_errors:,} things are wrong" if n_errors else "all is well")
    raise typer.Exit(1 if n_errors else 0)


def repair_command(
    store: StoreOption,
    streams: SomeStreamsOption = None,
    settings: SetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the catalogue agree with the parts again; what is damaged is queued for the next extraction.

    --set names the parameters of a stream whose description is lost. Exit code 1: something is left for you to mend.

    Example: timbrel repair --store features.timbrel --dry-run
    """
    from flows.display import progress
    from storage_schema.upkeep.repair import repair

    specs = _known_specs(settings)
    with _opened(store) as opened, progress(quiet=as_json) as show:
        steps = list(repair(opened, specs, _some(streams), show, dry_run=dry_run))
    if as_json:
        print_json([vars(step) for step in steps])
    else:
        for step in steps:
            done = "would be mended" if dry_run else "mended"
            say(f"{done if step.is_mended else 'for you to mend'}: {step.where}\n  {step.what}")
        if not steps:
            say("nothing to mend")
        elif not dry_run:
            say("`timbrel extract` makes what is missing now")
    raise typer.Exit(0 if all(step.is_mended for step in steps) else 1)


def gc_command(
    store: StoreOption,
    grace: Annotated[str, typer.Option("--grace", help="Keep what is younger: 90m, 36h, 7d.")] = "24h",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what nobody can need any more: parts without a row, old files of the tables, leftovers of killed commands.

    Snapshots older than the grace can no longer be read, but for those that finished runs name. The grace must be
    longer than any command that reads or writes the store now has been running.

    Example: timbrel gc --store features.timbrel --dry-run
    """
    from storage_schema.upkeep.garbage import collect_garbage

    allowed = parse_grace(grace)
    with _opened(store) as opened:
        gone = list(collect_garbage(opened, allowed, dry_run=dry_run))
    if as_json:
        print_json([vars(garbage) for garbage in gone])
        return
    for garbage in gone if dry_run else ():
        say(f"{size(garbage.n_bytes):>10}  {garbage.key}")
    total = size(sum(garbage.n_bytes for garbage in gone))
    say(f"{len(gone):,} things, {total}, {'would be deleted' if dry_run else 'deleted'}" if gone else "no garbage")


def compact_command(store: StoreOption, streams: SomeStreamsOption = None, as_json: JsonOption = False) -> None:
    """Merge small parts, and small files of the tables, so that reading opens fewer. `timbrel gc` removes the old ones.

    Example: timbrel compact --store features.timbrel
    """
    from flows.display import progress
    from storage_schema.upkeep.compact import compact

    with _opened(store) as opened, progress(quiet=as_json) as show:
        done = list(compact(opened.files, _some(streams), show))
    if as_json:
        print_json([vars(compaction) for compaction in done])
    else:
        print_table(("what", "before", "after"), [(found.what, found.n_before, found.n_after) for found in done])


def snapshots_command(
    store: StoreOption,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to list.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the states that the store went through, the newest last; other commands read one by --snapshot.

    Example: timbrel snapshots --store features.timbrel
    """
    from storage_schema.history import list_snapshots

    with _opened(store) as opened:
        moments = list_snapshots(opened, limit)
    if as_json:
        print_json(
            [{"snapshot": moment.snapshot_id, "at": moment.at.isoformat(), "what": moment.what} for moment in moments]
        )
    elif moments:
        rows = [(moment.snapshot_id, f"{moment.at.astimezone():%Y-%m-%d %H:%M:%S}", moment.what) for moment in moments]
        print_table(("snapshot", "when", "what was done"), rows)
    else:
        say("nothing was written yet; `timbrel ingest` begins")


def parse_grace(text: str) -> timedelta:
    """`90m`, `36h` or `7d` as a time."""
    found = _GRACE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"--grace {text}: write a whole number of minutes, hours or days, such as 90m, 36h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def size(n_bytes: int) -> str:
    """`1.5 MB`, in powers of 1,000."""
    value, units = float(n_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


@contextmanager
def _opened(uri: str) -> "Iterator[Store]":
    """The store, whose ground may fail on the way: a disk that is taken out, a server that does not answer."""
    from storage_schema.store import open_store

    store = open_store(uri)
    try:
        yield store
    except OSError as error:
        raise StoreError(
            f"the store at {store.uri} cannot be worked on: {error}; what was done stays, and the same command goes on"
        ) from error


def _some(streams: str | None) -> list[str] | None:
    return None if streams is None else parse_streams(streams)


def _known_specs(settings: Sequence[str] | None) -> list[StreamSpec]:
    """What this timbrel would extract: each stream with its defaults, and with the parameters of --set."""
    asked = parse_parameters(settings, list(STREAMS))
    specs = [spec_for(stream, parameters) for stream, parameters in asked.items()]
    specs += [spec_for(stream) for stream, kind in STREAMS.items() if not kind.needs_model]
    return specs
