"""Trust, but verify: everything in a store that is not as it was written, and the command that mends it.

Every byte of every part is read and held against its hash, every row against its part, every commit of both tables
against JSON. What cannot be found here: a changed letter in a description (a unit, a label), for which nothing holds a
second copy.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

import polars as pl

from storage_schema.files import SCRATCH, Files
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.layout import RUNS, part_key, spec_key
from storage_schema.progress import OnProgress
from storage_schema.store import RUN_MARKER, Store
from storage_schema.upkeep.delta_log import broken_commits
from storage_schema.upkeep.inspection import (
    PartCondition,
    StreamCondition,
    inspect_stream,
    list_streams,
    read_rows_now,
    table_problem,
)
from storage_schema.upkeep.table_repair import REMAKE_CLIPS

Severity: TypeAlias = Literal["error", "information"]

_LEFTOVER_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Finding:
    """One thing found: where (a key below the store's root), what is so, and what to run. Information harms nobody."""

    severity: Severity
    where: str
    what: str
    remedy: str


def verify(store: Store, streams: Collection[str] | None, on_progress: OnProgress) -> Iterator[Finding]:
    """Look at everything, or at the parts of some streams only, and tell what is found as it is found."""
    files = store.files
    for table in (CLIPS_KEY, EXTRACTIONS_KEY):
        yield from _check_table(files, table)
    if table_problem(files, EXTRACTIONS_KEY) is None:
        rows = read_rows_now(files)
        for stream, fingerprint in list_streams(files, rows):
            if streams is None or stream in streams:
                own = rows.filter(pl.col("stream") == stream, pl.col("fingerprint") == fingerprint)
                yield from _tell(files, inspect_stream(files, stream, fingerprint, own, on_progress))
    yield from _check_runs(files)
    yield from _check_leftovers(files)


def _check_table(files: Files, table: str) -> Iterator[Finding]:
    is_clips = table == CLIPS_KEY
    again = "`timbrel repair`, then " + ("ingest again" if is_clips else "`timbrel extract`")
    problem = table_problem(files, table)
    for commit in broken_commits(files, table):
        what = f"commit {commit.version} {commit.what}"
        backup = "restore it from a backup; until then, older snapshots cannot be read"
        yield Finding("error", f"{table}/_delta_log", what, again if commit.is_mendable else backup)
    if problem is not None:
        is_lost = is_clips and files.entries(table)
        yield Finding("error", table, problem, REMAKE_CLIPS if is_lost else again)


def _tell(files: Files, condition: StreamCondition) -> Iterator[Finding]:
    stream, fingerprint = condition.stream, condition.fingerprint
    if condition.spec is None and (condition.parts or files.exists(spec_key(stream, fingerprint))):
        yield Finding(
            "error",
            spec_key(stream, fingerprint),
            f"{condition.spec_problem}; its {len(condition.parts):,} parts were not checked",
            "`timbrel repair`, with --set for parameters that are not the default",
        )
    for part in condition.parts:
        where = part_key(stream, fingerprint, part.part_id)
        for severity, what, remedy in _tell_part(stream, part, was_judged=condition.spec is not None):
            yield Finding(severity, where, what, remedy)


def _tell_part(stream: str, part: PartCondition, *, was_judged: bool) -> Iterator[tuple[Severity, str, str]]:
    n = f"{len(part.clip_ids):,} clips"
    again = f"`timbrel repair`, then `timbrel extract --streams {stream}`"
    if part.problem is not None and part.clip_ids:
        yield "error", f"{'damaged' if part.is_there else 'lost'}: {part.problem} ({n})", again
    elif part.problem is not None:
        yield "information", f"damaged, but no row names it: {part.problem}", "`timbrel gc` removes it"
    elif was_judged and not part.clip_ids:
        remedy = f"`timbrel extract --streams {stream}` adopts what is missing of it, then `timbrel gc` removes it"
        yield "information", f"whole, but no row names it ({part.n_held:,} clips)", remedy
    elif part.contradicted:
        yield "error", f"the rows of {len(part.contradicted):,} of {n} say otherwise than the part itself", again


def _check_runs(files: Files) -> Iterator[Finding]:
    for folder in files.entries(RUNS):
        key = f"{RUNS}/{folder.name}/{RUN_MARKER}"
        try:
            json.loads(files.read(key))
        except (OSError, ValueError) as error:
            remedy = f"restore it from a backup, or delete {RUNS}/{folder.name} and train again"
            yield Finding("error", key, f"the results of the run cannot be read: {error}", remedy)


def _check_leftovers(files: Files) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for entry in files.entries(SCRATCH):
        if entry.modified_at is not None and now - entry.modified_at > _LEFTOVER_AGE:
            what = f"left behind by a command that was killed, {entry.modified_at:%Y-%m-%d %H:%M} UTC"
            yield Finding("information", f"{SCRATCH}/{entry.name}", what, "`timbrel gc` removes it")
