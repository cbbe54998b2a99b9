"""What is true of a store: its tables, and its parts, byte by byte, against the rows that name them. It judges nothing.

`verify` tells people what is found here, `repair` mends it. One part is in memory at a time.
"""

from dataclasses import dataclass

import polars as pl

from storage_schema.catalogue import TableAt, current_version
from storage_schema.errors import InputError, StoreError
from storage_schema.files import Files
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.layout import STREAMS, is_name, part_key
from storage_schema.parts import Part, check_part, list_parts, read_index
from storage_schema.progress import OnProgress
from storage_schema.specs import read_spec
from storage_schema.streams import StreamSpec
from storage_schema.tables import CLIPS, EXTRACTIONS

_COLUMNS = ("clip_id", "stream", "fingerprint", "status", "part_id", "first_row", "n_rows")


@dataclass(frozen=True)
class PartCondition:
    """One part that lies in the store or that a row names.

    problem: what is wrong with the part; None where it is whole, or could not be judged for want of a description.
    clip_ids: those whose rows name it. contradicted: of these, the ones whose row does not lead to their frames.
    n_held: how many clips it holds by its own account.
    """

    part_id: str
    is_there: bool
    problem: str | None
    clip_ids: tuple[str, ...]
    contradicted: tuple[str, ...]
    n_held: int = 0

    @property
    def is_whole(self) -> bool:
        return self.problem is None


@dataclass(frozen=True)
class StreamCondition:
    """One stream and fingerprint. Without a `spec` its parts could not be judged, only missed."""

    stream: str
    fingerprint: str
    spec: StreamSpec | None
    spec_problem: str | None
    parts: tuple[PartCondition, ...]


def table_problem(files: Files, table: str) -> str | None:
    """Why the newest state of a table cannot be read, or None: every row and column of it was."""
    uri, schema = files.table_uri(table), CLIPS if table == CLIPS_KEY else EXTRACTIONS
    try:
        TableAt(uri, current_version(uri), schema).read(schema.names)
    except (StoreError, InputError) as error:
        return _without_remedy(error)
    return None


def read_rows_now(files: Files) -> pl.DataFrame:
    """Every row of `extractions`, as far as it says where frames lie. Raises StoreError where it cannot be read."""
    uri = files.table_uri(EXTRACTIONS_KEY)
    return TableAt(uri, current_version(uri), EXTRACTIONS).read(_COLUMNS)


def no_rows() -> pl.DataFrame:
    """What `read_rows_now` gives of a table that holds nothing."""
    return pl.DataFrame(pl.from_arrow(EXTRACTIONS.empty_table())).select(_COLUMNS)


def list_streams(files: Files, rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Every stream and fingerprint that has a folder or a row."""
    found = {
        (stream.name, fingerprint.name)
        for stream in files.entries(STREAMS)
        if stream.is_folder and is_name(stream.name)
        for fingerprint in files.entries(f"{STREAMS}/{stream.name}")
        if fingerprint.is_folder and is_name(fingerprint.name)
    }
    return sorted(found | {*rows.select("stream", "fingerprint").unique().iter_rows()})


def inspect_stream(
    files: Files,
    stream: str,
    fingerprint: str,
    rows: pl.DataFrame,
    on_progress: OnProgress,
    known: StreamSpec | None = None,
) -> StreamCondition:
    """The condition of one stream; `rows` are its own, `known` is its description where the one beside it is lost."""
    spec, spec_problem = known, None
    try:
        spec = read_spec(files, stream, fingerprint)
    except StoreError as error:
        spec_problem = _without_remedy(error)
    named = {str(key[0]): its for key, its in rows.filter(status="ok").partition_by("part_id", as_dict=True).items()}
    there = list_parts(files, stream, fingerprint)  # after the rows: a part written meanwhile is unnamed, not lost
    parts = []
    for done, part_id in enumerate(there, start=1):
        part = _inspect_part(files, spec, part_id, named.pop(part_id, rows.clear()))
        if part.clip_ids or part.is_whole or files.n_bytes(part_key(stream, fingerprint, part_id)):
            parts.append(part)  # else an empty folder, which some object stores show where a part was removed
        on_progress(f"{stream} {fingerprint[:8]}", done, len(there))
    for part_id, its in named.items():
        clip_ids = tuple(its["clip_id"])
        parts.append(PartCondition(part_id, False, "it is not there", clip_ids, clip_ids))
    return StreamCondition(stream, fingerprint, spec, spec_problem, tuple(parts))


def _inspect_part(files: Files, spec: StreamSpec | None, part_id: str, rows: pl.DataFrame) -> PartCondition:
    clip_ids = tuple(rows["clip_id"])
    if spec is None:
        return PartCondition(part_id, True, None, clip_ids, ())
    part = Part(files, spec, part_id)
    problem = check_part(part)
    if problem is not None:
        return PartCondition(part_id, True, problem, clip_ids, clip_ids)
    index = {entry.clip_id: (entry.first_row, entry.n_rows) for entry in read_index(part)}
    contradicted = tuple(
        clip_id
        for clip_id, first_row, n_rows in rows.select("clip_id", "first_row", "n_rows").iter_rows()
        if index.get(clip_id) != (first_row, n_rows)
    )
    return PartCondition(part_id, True, None, clip_ids, contradicted, len(index))


def _without_remedy(error: Exception) -> str:
    return str(error).partition("; `timbrel")[0]
