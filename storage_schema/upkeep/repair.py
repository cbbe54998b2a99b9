"""Make the catalogue agree with what is on the ground again: what can be rebuilt is, what cannot is queued again.

In this order, each step finding what the one before it left: both tables, descriptions, rows of parts that are lost or
damaged or that contradict them, and last whole parts with clips that have no row. Killed half-way, it is simply run
again. No part is deleted here: a damaged one stays for `timbrel gc`, or for the extraction that makes the very same
part again and replaces it.
"""

from collections.abc import Collection, Iterable, Iterator

import polars as pl

from storage_schema.files import Files
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS, part_key, spec_key
from storage_schema.parts import Part
from storage_schema.progress import OnProgress
from storage_schema.recovery import adoptable
from storage_schema.store import Store
from storage_schema.streams import StreamSpec
from storage_schema.tables import ExtractionRow
from storage_schema.upkeep.inspection import (
    StreamCondition,
    inspect_stream,
    list_streams,
    no_rows,
    read_rows_now,
    table_problem,
)
from storage_schema.upkeep.table_repair import Step, mend_clips, mend_extractions, mend_log

_ROWS_A_COMMIT = 20_000


def repair(
    store: Store,
    specs: Iterable[StreamSpec],
    streams: Collection[str] | None,
    on_progress: OnProgress,
    *,
    dry_run: bool,
) -> Iterator[Step]:
    """Mend what can be mended and tell each step as it is done; with `dry_run` tell only.

    specs: descriptions to put where one is lost, if the fingerprint it lies under is theirs.
    streams: whose parts to look at, by default all.
    """
    files = store.files
    known = {(spec.stream, spec.fingerprint): spec for spec in specs}
    yield from mend_log(files, CLIPS_KEY, dry_run=dry_run)
    yield from mend_clips(files, dry_run=dry_run)
    of_log = [*mend_log(files, EXTRACTIONS, dry_run=dry_run)]
    yield from of_log
    if dry_run and table_problem(files, EXTRACTIONS) is not None and any(step.is_mended for step in of_log):
        yield Step(f"{EXTRACTIONS}/_delta_log", "what else there is to mend can be seen once this is done")
        return
    yield from mend_extractions(files, dry_run=dry_run)
    rows = no_rows() if table_problem(files, EXTRACTIONS) is not None else read_rows_now(files)
    for stream, fingerprint in list_streams(files, rows):
        if streams is None or stream in streams:
            own = rows.filter(pl.col("stream") == stream, pl.col("fingerprint") == fingerprint)
            found = inspect_stream(files, stream, fingerprint, own, on_progress, known.get((stream, fingerprint)))
            yield from _mend_spec(files, found, dry_run=dry_run)
            yield from _queue_again(store, found, dry_run=dry_run)
            done = {*own.filter(status="ok")["clip_id"]}.difference(*(part.contradicted for part in found.parts))
            yield from _adopt(store, found, done, dry_run=dry_run)


def _mend_spec(files: Files, found: StreamCondition, *, dry_run: bool) -> Iterator[Step]:
    if found.spec_problem is None:
        return
    key = spec_key(found.stream, found.fingerprint)
    if found.spec is None:
        what = "restore it from a backup, or name the parameters it was made with by --set; its parts wait until then"
        yield Step(key, f"{found.spec_problem}; {what}", is_mended=False)
        return
    if not dry_run:
        files.write(key, found.spec.to_json().encode())
    yield Step(key, "the description is written anew: this timbrel makes the same fingerprint")


def _queue_again(store: Store, found: StreamCondition, *, dry_run: bool) -> Iterator[Step]:
    """Delete the rows of frames that are not there; extraction makes them, or the next step finds them elsewhere."""
    contradicted = [clip_id for part in found.parts for clip_id in part.contradicted]
    if contradicted and not dry_run:
        store.requeue(found.stream, found.fingerprint, contradicted)
    for part in found.parts:
        if part.contradicted:
            why = part.problem or "its rows say otherwise than the part"
            what = f"{why}; {len(part.contradicted):,} rows taken back"
            yield Step(part_key(found.stream, found.fingerprint, part.part_id), what)


def _adopt(store: Store, found: StreamCondition, done: set[str], *, dry_run: bool) -> Iterator[Step]:
    """Make rows for the clips of whole parts that have none; `done` are those that have, and grows."""
    pending: list[ExtractionRow] = []
    for part in found.parts:
        if found.spec is None or not part.is_whole or part.n_held == len(part.clip_ids) - len(part.contradicted):
            continue
        rows = adoptable(Part(store.files, found.spec, part.part_id), done)
        if rows:
            done.update(row.clip_id for row in rows)
            pending += rows
            where = part_key(found.stream, found.fingerprint, part.part_id)
            yield Step(where, f"{len(rows):,} clips of it are in the catalogue again")
        if len(pending) >= _ROWS_A_COMMIT and not dry_run:
            store.commit(pending)
            pending = []
    if not dry_run:
        store.commit(pending)
