"""Commands on the store: ingest, plan, extract, status."""

import os
from typing import Annotated

import typer

from flows.cli.options import (
    ALL_DEFAULT_STREAMS,
    JsonOption,
    LogJsonOption,
    RetryOption,
    RootArgument,
    SchedulerOption,
    SetOption,
    SettingsOption,
    SnapshotOption,
    StoreOption,
    StreamsOption,
    TimeLimitOption,
    WorkersOption,
    parse_cluster,
    parse_specs,
)
from flows.cli.output import hours, print_json, print_table, say
from flows.cli.rough import costs_in_words, rough_size, rough_time

_RUNS_SHOWN = 10


def ingest_command(
    kind: Annotated[str, typer.Argument(help="folder, csv, esc50, fsd50k, urbansound8k or general_midi.")],
    root: RootArgument,
    store: StoreOption,
    dataset: Annotated[str | None, typer.Option("--dataset", help="File the clips under this name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find recordings and write them into the catalogue; only new and changed files are read.

    Example: timbrel ingest folder recordings --store features.timbrel
    """
    from flows.display import progress
    from pipeline.ingest import ingest, list_clips
    from storage_schema.store import open_store

    list_clips(kind, root)  # before a store is made for a root that does not exist
    with progress(quiet=as_json) as show:
        report = ingest(open_store(store, create=True), kind, root, dataset=dataset, on_progress=show)
    if as_json:
        print_json(report)
    else:
        say(
            f"{report.dataset}: {report.n_listed} files; {report.n_new} new, {report.n_changed} changed, "
            f"{report.n_unchanged} as before, {report.n_problems} unreadable"
            + (f"; no longer listed: {report.n_unlisted}" if report.n_unlisted else "")
        )
        if report.n_problems:
            say("`timbrel status` lists the unreadable files")
    raise typer.Exit(1 if report.n_problems else 0)


def plan_command(
    store: StoreOption,
    streams: StreamsOption = ALL_DEFAULT_STREAMS,
    settings: SetOption = None,
    workers: WorkersOption = None,
    retry_failed: RetryOption = False,
    snapshot: SnapshotOption = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Estimate by history alone, without trying a few clips of new streams.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what an extraction would do, why, and what it would cost, without doing it.

    Example: timbrel plan --store features.timbrel --set pitch.model=full
    """
    from flows.display import progress
    from pipeline.estimate import estimate
    from pipeline.plan import plan_extraction
    from storage_schema.store import open_store

    specs = parse_specs(streams, settings)
    state = open_store(store).snapshot(snapshot)
    plan = plan_extraction(state, specs, retry_failed=retry_failed)
    with progress(quiet=as_json) as show:
        costs = estimate(plan, state, workers or os.cpu_count() or 1, with_probe=not no_probe, on_progress=show)
    if as_json:
        document = {
            stream.spec.stream: {
                "fingerprint": stream.spec.fingerprint,
                "clips": stream.n_clips,
                "done": stream.n_done,
                "wanted": stream.n_wanted,
                "failed_before": stream.n_quarantined,
                "audio_s": stream.audio_s,
                "reasons": dict(stream.reasons),
                "estimate": {
                    "work_s": cost.work_s,
                    "bytes": cost.n_bytes,
                    "source": cost.source,
                    "problem": cost.problem,
                },
            }
            for stream, cost in zip(plan.streams, costs.streams, strict=True)
        }
        total = {
            "workers": costs.n_workers,
            "wall_s": costs.wall_s,
            "bytes": costs.n_bytes,
            "is_complete": costs.is_complete,
        }
        print_json({"snapshot": plan.snapshot_id, "streams": document, "estimate": total})
        return
    rows = [
        (
            stream.spec.stream,
            f"{stream.n_done:,} of {stream.n_clips:,}",
            stream.n_wanted,
            stream.n_quarantined,
            hours(stream.audio_s),
            "unknown" if cost.work_s is None else rough_time(cost.work_s / costs.n_workers),
            "unknown" if cost.n_bytes is None else rough_size(cost.n_bytes),
            "; ".join(f"{reason}: {n:,}" for reason, n in stream.reasons.items()) or "nothing to do",
        )
        for stream, cost in zip(plan.streams, costs.streams, strict=True)
    ]
    columns = ("stream", "done", "wanted", "failed before", "audio", "time", "size", "why")
    print_table(columns, rows, title=f"snapshot {plan.snapshot_id}")
    if plan.n_wanted:
        say(costs_in_words(costs))


def extract_command(
    store: StoreOption,
    streams: StreamsOption = ALL_DEFAULT_STREAMS,
    settings: SetOption = None,
    workers: WorkersOption = None,
    retry_failed: RetryOption = False,
    time_limit: TimeLimitOption = None,
    scheduler: SchedulerOption = None,
    settings_file: SettingsOption = None,
    log_json: LogJsonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Extract what is missing, in parallel; what is done stays done. Ctrl-C keeps what was committed.

    Example: timbrel extract --store features.timbrel --streams pitch,timbre --workers 4
    """
    from pipeline.labels import write_labels
    from pipeline.plan import plan_extraction
    from storage_schema.store import open_store

    specs = parse_specs(streams, settings)
    cluster = parse_cluster(scheduler, settings_file)
    opened = open_store(store)
    plan = plan_extraction(opened.snapshot(), specs, retry_failed=retry_failed)
    n_ok = {spec.stream: 0 for spec in specs}
    n_failed, n_adopted, audio_s, elapsed_s = dict(n_ok), dict(n_ok), 0.0, 0.0
    if plan.n_wanted:
        from flows.display import progress
        from pipeline.extraction import run_extraction
        from pipeline.limits import time_limit_of

        limit = time_limit_of(time_limit)
        with progress(quiet=as_json, as_json=log_json) as show:
            report = run_extraction(
                opened,
                plan,
                cluster=cluster,
                n_workers=workers,
                limit=limit,
                on_progress=show,
                on_stream=show.stream,
            )
        n_ok, n_failed, audio_s, elapsed_s = report.n_ok, report.n_failed, report.audio_s, report.elapsed_s
        n_adopted |= report.n_adopted
    notes = write_labels(opened, specs)
    if as_json:
        failed_before = {stream.spec.stream: stream.n_quarantined for stream in plan.streams}
        computed = {"computed": n_ok, "adopted": n_adopted, "failed": n_failed, "failed_before": failed_before}
        print_json(computed | {"audio_s": audio_s, "elapsed_s": elapsed_s, "notes": notes})
    else:
        rows = [
            (
                stream.spec.stream,
                f"{stream.n_done + n_adopted[stream.spec.stream] + n_ok[stream.spec.stream]:,} of {stream.n_clips:,}",
                n_ok[stream.spec.stream],
                n_failed[stream.spec.stream],
                stream.n_quarantined,
            )
            for stream in plan.streams
        ]
        print_table(("stream", "coverage", "computed", "failed", "failed before"), rows)
        if any(n_adopted.values()):
            say(f"{sum(n_adopted.values()):,} were there already, computed by a run that did not live to commit them")
        for note in notes:
            say(note)
        if audio_s:
            say(f"{hours(audio_s)} of audio in {hours(elapsed_s)}: {audio_s / elapsed_s:.1f} times real time")
        if plan.n_quarantined or any(n_failed.values()):
            say("`timbrel quarantine list` says what failed and why, `timbrel quarantine retry` tries it again")
    raise typer.Exit(1 if plan.n_quarantined or any(n_failed.values()) else 0)


def status_command(store: StoreOption, snapshot: SnapshotOption = None, as_json: JsonOption = False) -> None:
    """Show what the store holds: clips, coverage of each stream, failures, runs.

    Example: timbrel status --store features.timbrel
    """
    from storage_schema.store import open_store

    opened = open_store(store)
    state = opened.snapshot(snapshot)
    coverage, problems, runs = state.coverage(), state.problems().to_pylist(), opened.runs()
    sizes: dict[str, int] = {}
    for dataset in state.clips["dataset"].to_pylist():
        sizes[dataset] = sizes.get(dataset, 0) + 1
    if as_json:
        counts = [vars(entry) for entry in coverage]
        print_json({"snapshot": state.id, "datasets": sizes, "coverage": counts, "problems": problems, "runs": runs})
        return
    say(f"{opened.uri}, snapshot {state.id}")
    say("; ".join(f"{name}: {n:,} clips" for name, n in sizes.items()) or "no clips yet; `timbrel ingest` finds them")
    if coverage:
        rows = [
            (
                entry.stream,
                entry.fingerprint[:8],
                f"{entry.n_ok:,} of {entry.n_clips:,}",
                entry.n_failed,
                entry.n_missing,
            )
            for entry in coverage
        ]
        print_table(("stream", "fingerprint", "coverage", "failed", "missing"), rows)
    if problems:
        rows_ = [(p["stream"] or "(ingest)", p["kind"], p["attempts"], p["message"]) for p in problems]
        print_table(("stream", "kind", "attempts", "what happened"), rows_, title=f"{len(problems):,} failures")
        say("`timbrel quarantine list` says more; `retry` and `forget` beside it do something about them")
    if runs:
        older = f"; {len(runs) - _RUNS_SHOWN} older ones" if len(runs) > _RUNS_SHOWN else ""
        say(f"training runs, the newest first: {', '.join(reversed(runs[-_RUNS_SHOWN:]))}{older}")
