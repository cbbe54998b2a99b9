"""Garbage: what no state of the store that anybody may still read names, taken away after a grace period.

Why it is safe beside readers and writers, none of which it asks:

- A reader pins a snapshot at some moment. The table files which that snapshot reads were in force then, so that they
  were replaced later, if at all; and a file goes only if it was replaced longer than the grace ago. A reader that
  pinned less than a grace ago keeps them all. The snapshots that finished runs name keep theirs for ever.
- Parts go by the files that are left: whatever part any of these names stays, in force or not.
- A writer places a part first and commits its rows later. A part that nobody names goes only if it was written longer
  than the grace ago, and its age is looked at again just before. Whoever finds the very part there already that it
  wanted to write, or adopts one, makes it young again (`parts.renew`).

So the grace has to be longer than any reader holds a snapshot and any writer holds a part before it commits; a day is
plenty for both. A race that is lost all the same leaves a row whose part is gone, which `timbrel plan` shows and
`timbrel extract` makes again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from storage_schema import catalogue
from storage_schema.errors import InputError, StoreError
from storage_schema.files import SCRATCH, Files
from storage_schema.layout import CLIPS, EXTRACTIONS, part_key, run_key
from storage_schema.parts import METADATA, list_parts
from storage_schema.store import RUN_MARKER, Store
from storage_schema.tables import PARTITION_BY
from storage_schema.upkeep import table_files
from storage_schema.upkeep.inspection import list_streams, no_rows

GRACE = timedelta(hours=24)
MAX_GRACE = timedelta(days=7)
"""Delta's checkpoints forget after a week when a file was replaced; from then on only its own age is known."""


@dataclass(frozen=True)
class Garbage:
    """One thing that went, or would go: a key below the store's root, and its size."""

    key: str
    n_bytes: int


def collect_garbage(store: Store, grace: timedelta = GRACE, *, dry_run: bool) -> Iterator[Garbage]:
    """Delete table files, parts and leftovers that are garbage for longer than `grace`, and tell each.

    Raises InputError for a grace beyond MAX_GRACE; StoreError, before anything is deleted, where a run does not say
    which snapshot it needs, and where a table cannot be read, because then nobody knows what it names.
    """
    if grace > MAX_GRACE:
        raise InputError(f"a grace of {grace} is more than {MAX_GRACE.days} days, which is as far back as tables know")
    files = store.files
    kept_by_runs = [_snapshot_of(store, run_id) for run_id in store.runs()]
    doomed: set[str] = set()
    for i, table in enumerate((CLIPS, EXTRACTIONS)):
        for path in _vacuum(files, table, grace, [versions[i] for versions in kept_by_runs], dry_run=dry_run):
            doomed.add(path.key)
            yield path
    old = [key for key in _part_keys(files) if _is_older(files, key, grace)]
    named = _named_parts(files, doomed)  # after the parts were listed: a row that came meanwhile keeps its part
    for key in old:
        if key not in named and files.n_bytes(key) and _is_older(files, key, grace):
            yield _remove(files, key, dry_run=dry_run)
    for entry in files.entries(SCRATCH):
        key = f"{SCRATCH}/{entry.name}"
        newest = max((time for time in (entry.modified_at, *_times_below(files, key)) if time), default=None)
        if newest is not None and datetime.now(UTC) - newest > grace:
            yield _remove(files, key, dry_run=dry_run)


def _vacuum(
    files: Files, table: str, grace: timedelta, keep_versions: list[int], *, dry_run: bool
) -> Iterator[Garbage]:
    uri = files.table_uri(table)
    hours = ceil(grace / timedelta(hours=1))  # Delta counts whole ones
    newest = catalogue.current_version(uri)
    keep = sorted({version for version in keep_versions if version <= newest})
    there = {*_files_below(files, table)}  # Delta also names what an earlier vacuum deleted
    keys = [f"{table}/{path}" for path in table_files.vacuum_table(uri, hours, keep, "", dry_run=True)]
    gone = [Garbage(key, len(files.read(key))) for key in keys if key in there]
    if gone and not dry_run:
        table_files.vacuum_table(uri, hours, keep, f"{len(gone):,} old files of {table} deleted", dry_run=False)
    yield from gone


def _snapshot_of(store: Store, run_id: str) -> tuple[int, int]:
    """The versions of both tables that a finished run was trained on."""
    try:
        document = json.loads(store.files.read(f"{run_key(run_id)}/{RUN_MARKER}"))
        clips, extractions = document["provenance"]["snapshot"].split("-")
        return int(clips), int(extractions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"run {run_id} does not say which snapshot it needs ({error}), so that nothing can be deleted; restore its "
            f"{RUN_MARKER} from a backup, or delete {run_key(run_id)}"
        ) from error


def _part_keys(files: Files) -> list[str]:
    return [
        part_key(stream, fingerprint, part_id)
        for stream, fingerprint in list_streams(files, no_rows())
        for part_id in list_parts(files, stream, fingerprint)
    ]


def _named_parts(files: Files, doomed: set[str]) -> set[str]:
    """The keys of all parts that a file of the table of extractions names, but for files that are `doomed`."""
    named: set[str] = set()
    for key in _files_below(files, EXTRACTIONS):
        if key.endswith(".parquet") and "/_delta_log/" not in key and key not in doomed:
            named |= _parts_in(files, key)
    return named


def _parts_in(files: Files, key: str) -> set[str]:
    try:
        file = parquet.ParquetFile(pa.BufferReader(files.read(key)))
        rows = file.read(["part_id", *(name for name in PARTITION_BY if name in file.schema_arrow.names)])
    except FileNotFoundError:  # another gc was here
        return set()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{key} cannot be read, so that nobody knows which parts it names; `timbrel verify` says more, and "
            "`timbrel repair` makes the table anew"
        ) from error
    for name in PARTITION_BY:
        if name not in rows.column_names:  # it stands in the name of the folder
            value = next(part for part in key.split("/") if part.startswith(f"{name}=")).partition("=")[2]
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    distinct = pl.DataFrame(pl.from_arrow(rows)).select(*PARTITION_BY, "part_id").drop_nulls().unique()
    return {part_key(*row) for row in distinct.iter_rows()}


def _remove(files: Files, key: str, *, dry_run: bool) -> Garbage:
    found = Garbage(key, files.n_bytes(key))
    if not dry_run:
        files.remove(f"{key}/{METADATA}")  # first, so that a part in a bucket is never half there
        files.remove(key)
    return found


def _is_older(files: Files, key: str, grace: timedelta) -> bool:
    """Whether a part was written longer than the grace ago; one without metadata is as old as its newest file."""
    times = {entry.name: entry.modified_at for entry in files.entries(key)}
    written_at = times.get(METADATA) or max(_times_below(files, key), default=None)
    return written_at is not None and datetime.now(UTC) - written_at > grace


def _times_below(files: Files, key: str) -> Iterator[datetime]:
    for entry in files.entries(key):
        if entry.modified_at is not None:
            yield entry.modified_at
        if entry.is_folder:
            yield from _times_below(files, f"{key}/{entry.name}")


def _files_below(files: Files, key: str) -> Iterator[str]:
    for entry in files.entries(key):
        if entry.is_folder:
            yield from _files_below(files, f"{key}/{entry.name}")
        else:
            yield f"{key}/{entry.name}"
