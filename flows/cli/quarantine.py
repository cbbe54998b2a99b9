"""Commands on failures: list them, try them again, forget them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.registry import spec_for
from flows.cli.options import JsonOption, SnapshotOption, StoreOption, TimeLimitOption, WorkersOption
from flows.cli.output import print_json, print_table, say
from storage_schema.errors import FAILURE_KINDS, InputError, StoreError

if TYPE_CHECKING:
    from pipeline.extraction import ExtractionReport
    from storage_schema.snapshot import Snapshot
    from storage_schema.store import Store
    from storage_schema.streams import StreamSpec

app = typer.Typer(no_args_is_help=True, help="What failed and why; try it again, or forget it.")

ClipsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[CLIP_URI]...", help="Only these, named as `quarantine list` does.")
]
StreamOption = Annotated[str | None, typer.Option("--stream", help="Only failures of this stream.")]
KindOption = Annotated[
    str | None, typer.Option("--kind", help=f"Only failures of this kind: {', '.join(FAILURE_KINDS)}.")
]

Failure = Mapping[str, Any]
"""One row of `Snapshot.problems`."""


@app.command("list")
def list_command(
    store: StoreOption,
    snapshot: SnapshotOption = None,
    stream: StreamOption = None,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every failure: the clip, what was tried, what went wrong, how often and when last.

    Example: timbrel quarantine list --store features.timbrel --kind timeout
    """
    from storage_schema.store import open_store

    state = open_store(store).snapshot(snapshot)
    failures = _chosen(state, stream, kind, ())
    coverage = [entry for entry in state.coverage() if stream in (None, entry.stream)]
    if as_json:
        print_json({"snapshot": state.id, "failures": failures, "coverage": [vars(entry) for entry in coverage]})
        return
    if failures:
        rows = [
            (
                _name(each),
                each["stream"] or "",
                each["stage"],
                each["kind"],
                each["attempts"],
                _minute(each),
                each["message"],
            )
            for each in failures
        ]
        print_table(("clip", "stream", "stage", "kind", "attempts", "when", "what happened"), rows)
    else:
        say("nothing in quarantine" if stream is None and kind is None else "no such failure")
    for entry in coverage:
        quarantined = f", {entry.n_failed:,} in quarantine" if entry.n_failed else ""
        say(f"{entry.stream} {entry.fingerprint[:8]}: {entry.n_ok:,} of {entry.n_clips:,} clips{quarantined}")


@app.command("retry")
def retry_command(
    store: StoreOption,
    clips: ClipsArgument = None,
    stream: StreamOption = None,
    kind: KindOption = None,
    workers: WorkersOption = None,
    time_limit: TimeLimitOption = None,
) -> None:
    """Try failures again now, each with the parameters it failed with, and nothing else.

    Example: timbrel quarantine retry --kind timeout --time-limit 60 --store features.timbrel
    """
    from storage_schema.store import open_store

    opened = open_store(store)
    state = opened.snapshot()
    failures = _chosen(state, stream, kind, clips or ())
    n_unread = sum(each["stage"] == "ingest" for each in failures)
    groups = _by_stream(failures)
    wanted, refused = [], []
    for (name, fingerprint), clip_ids in groups.items():
        spec = _makeable(state, name, fingerprint)
        if spec is None:
            refused.append((name, fingerprint, len(clip_ids)))
        else:
            wanted.append((spec, clip_ids))
    reports = _retry(opened, wanted, workers, time_limit)
    n_ok = sum(sum(report.n_ok.values()) + sum(report.n_adopted.values()) for report in reports)
    n_failed = sum(sum(report.n_failed.values()) for report in reports)
    say(f"{n_ok:,} of {n_ok + n_failed:,} are good now" if wanted else "nothing to try again")
    for name, fingerprint, n in refused:
        say(f"{name} {fingerprint[:8]}: {n:,} stay, because this version of timbrel makes that stream otherwise")
    if n_unread:
        say(f"{n_unread:,} could not be read at ingest; `timbrel ingest` tries them again")
    raise typer.Exit(1 if n_failed or refused or n_unread else 0)


@app.command("forget")
def forget_command(
    store: StoreOption,
    clips: ClipsArgument = None,
    stream: StreamOption = None,
    kind: KindOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failure there is.")] = False,
) -> None:
    """Delete failures, so that their clips count as never tried; files never read at ingest leave the catalogue.

    Example: timbrel quarantine forget --kind undecodable --store features.timbrel
    """
    from storage_schema.store import open_store

    if not (everything or clips or stream or kind):
        raise InputError("quarantine forget: say which, by name, --stream or --kind, or --all of them")
    if everything and (clips or stream or kind):
        raise InputError("quarantine forget: --all leaves no choice; leave it out, or the clips and filters beside it")
    opened = open_store(store)
    failures = _chosen(opened.snapshot(), stream, kind, clips or ())
    groups = _by_stream(failures)
    for (name, fingerprint), clip_ids in groups.items():
        opened.requeue(name, fingerprint, sorted(clip_ids))
    unread = [each for each in failures if each["stage"] == "ingest"]
    gone = defaultdict(list)
    for each in unread:
        if each["clip_id"] is None:
            gone[each["dataset"]].append(each["uri"])
    for dataset, uris in gone.items():
        opened.forget_clips(dataset, uris)
    n_gone = sum(map(len, gone.values()))
    say(
        f"{sum(map(len, groups.values())):,} failures forgotten, {n_gone:,} unreadable files taken out of the catalogue"
    )
    if len(unread) > n_gone:
        say(f"{len(unread) - n_gone:,} files that could be read before and cannot now stay, with what was made of them")


def _chosen(state: "Snapshot", stream: str | None, kind: str | None, clips: Collection[str]) -> list[Failure]:
    """The failures that all filters let through. Raises InputError for a kind or a clip there is none of."""
    if kind is not None and kind not in FAILURE_KINDS:
        raise InputError(f"there is no kind of failure {kind!r}; choose from {', '.join(FAILURE_KINDS)}")
    failures: list[Failure] = state.problems().to_pylist()
    unknown = sorted(set(clips) - {name for each in failures for name in (each["uri"], _name(each))})
    if unknown:
        raise InputError(f"{unknown[0]} is not in quarantine; `timbrel quarantine list` names what is")
    return [
        each
        for each in failures
        if stream in (None, each["stream"])
        and kind in (None, each["kind"])
        and (not clips or each["uri"] in clips or _name(each) in clips)
    ]


def _by_stream(failures: Sequence[Failure]) -> dict[tuple[str, str], set[str]]:
    """The clips of each stream and fingerprint; failures at ingest are of none."""
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in failures:
        if each["stream"] is not None:
            groups[each["stream"], each["fingerprint"]].add(each["clip_id"])
    return dict(groups)


def _makeable(state: "Snapshot", stream: str, fingerprint: str) -> "StreamSpec | None":
    """The spec that lies beside the stream, if this timbrel would still make the same numbers by it."""
    try:
        spec = spec_for(stream, state.spec(stream, fingerprint).parameters)
    except (InputError, StoreError):
        return None
    return spec if spec.fingerprint == fingerprint else None


def _retry(
    store: "Store", wanted: Sequence[tuple["StreamSpec", set[str]]], workers: int | None, time_limit: float | None
) -> list["ExtractionReport"]:
    """Extract them; several fingerprints of one stream one after the other, because a plan has one row a stream."""
    from flows.display import progress
    from pipeline.extraction import run_extraction
    from pipeline.limits import time_limit_of
    from pipeline.plan import plan_retry

    rounds: list[list[tuple[StreamSpec, set[str]]]] = []
    for spec, clip_ids in wanted:
        free = [round_ for round_ in rounds if spec.stream not in {other.stream for other, _ in round_}]
        if free:
            free[0].append((spec, clip_ids))
        else:
            rounds.append([(spec, clip_ids)])
    reports = []
    with progress() as show:
        for round_ in rounds:
            plan = plan_retry(store.snapshot(), round_)
            limit = time_limit_of(time_limit)
            reports.append(
                run_extraction(store, plan, n_workers=workers, limit=limit, on_progress=show, on_stream=show.stream)
            )
    return reports


def _name(failure: Failure) -> str:
    return f"{failure['dataset']}/{failure['uri']}"


def _minute(failure: Failure) -> str:
    return f"{failure['at']:%Y-%m-%d %H:%M}"
