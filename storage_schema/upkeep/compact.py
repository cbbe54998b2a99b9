"""Many small parts into few larger ones, so that a reader opens fewer files; and the same for the tables.

A merged part is written like any other, and then one commit moves the rows that still name the parts it was made of.
The old parts stay as they were until `timbrel gc`, so that a reader who pinned an older snapshot notices nothing, and a
row that somebody wrote anew meanwhile is left alone. A part that is damaged is never merged: its bytes would get a new
hash and pass for whole.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

import numpy as np
import polars as pl
import pyarrow as pa

from storage_schema import catalogue
from storage_schema.errors import StoreError
from storage_schema.files import Files
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.parts import (
    Part,
    PartEntry,
    check_part,
    read_audio_s,
    read_index,
    read_library_versions,
    read_rows,
    write_part,
)
from storage_schema.progress import OnProgress
from storage_schema.specs import read_spec
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.tables import EXTRACTIONS
from storage_schema.upkeep import table_files
from storage_schema.upkeep.inspection import list_streams, read_rows_now

TARGET_BYTES = 64 * 2**20
"""Size of a merged part before compression; a part of less than half of it is small."""

_MOVES = pa.schema(
    [
        *(EXTRACTIONS.field(name) for name in ("clip_id", "stream", "fingerprint", "part_id", "first_row")),
        pa.field("moved_from", pa.string()),
    ]
)

_Clips = Mapping[str, Sequence[PartEntry]]
"""Part id to where the clips lie in it whose rows name it."""


@dataclass(frozen=True)
class SmallPart:
    """A part worth merging: bytes of its living clips before compression, and what may not be mixed with another."""

    part_id: str
    n_bytes: int
    made_with: str


@dataclass(frozen=True)
class Compaction:
    """What became of one stream's parts, or of one table's files: so many fewer of them."""

    what: str
    n_before: int
    n_after: int


def compact(
    files: Files, streams: Collection[str] | None, on_progress: OnProgress, target_bytes: int = TARGET_BYTES
) -> Iterator[Compaction]:
    """Merge the small parts of each stream among `streams`, by default of all, and then the files of both tables.

    Raises ConflictError where other writers were always faster, StoreError where there is no room.
    """
    rows = read_rows_now(files)
    for stream, fingerprint in list_streams(files, rows):
        if streams is None or stream in streams:
            own = rows.filter(pl.col("stream") == stream, pl.col("fingerprint") == fingerprint, status="ok")
            yield _compact_stream(files, read_spec(files, stream, fingerprint), own, target_bytes, on_progress)
    for table in (CLIPS_KEY, EXTRACTIONS_KEY):
        before, after = table_files.compact_table(files.table_uri(table), f"small files of {table} merged")
        yield Compaction(f"files of the table {table}", before, after)


def plan_merges(parts: Sequence[SmallPart], target_bytes: int) -> list[list[str]]:
    """Which parts become one: small ones that were made alike, in the order of their ids, up to the target."""
    merges: list[list[str]] = []
    small = sorted((part for part in parts if 2 * part.n_bytes < target_bytes), key=lambda p: (p.made_with, p.part_id))
    for _, alike in groupby(small, key=lambda part: part.made_with):
        merges.append([])
        n_bytes = 0
        for part in alike:
            if n_bytes + part.n_bytes > target_bytes:
                merges.append([])
                n_bytes = 0
            merges[-1].append(part.part_id)
            n_bytes += part.n_bytes
    return [merge for merge in merges if len(merge) > 1]


def _compact_stream(
    files: Files, spec: StreamSpec, rows: pl.DataFrame, target_bytes: int, on_progress: OnProgress
) -> Compaction:
    clips = {
        str(key[0]): [PartEntry(*row) for row in its.select("clip_id", "first_row", "n_rows").iter_rows()]
        for key, its in rows.partition_by("part_id", as_dict=True).items()
    }
    merges = plan_merges([*_small_parts(files, spec, clips, target_bytes)], target_bytes)
    n_merged = n_made = 0
    for done, merge in enumerate(merges, start=1):
        moves = _merge(files, spec, {part_id: clips[part_id] for part_id in merge})
        if moves.num_rows:
            n_merged += len(moves["moved_from"].unique())
            n_made += 1
            note = f"{spec.stream}: {len(merge):,} parts merged into one"
            catalogue.move_extractions(files.table_uri(EXTRACTIONS_KEY), moves, note)
        on_progress(f"{spec.stream} {spec.fingerprint[:8]}", done, len(merges))
    return Compaction(f"parts of {spec.stream} {spec.fingerprint[:8]}", len(clips), len(clips) - n_merged + n_made)


def _small_parts(files: Files, spec: StreamSpec, clips: _Clips, target_bytes: int) -> Iterator[SmallPart]:
    frame_bytes = sum(np.dtype(array.dtype).itemsize * prod(array.shape) for array in spec.arrays)
    for part_id, entries in clips.items():
        n_bytes = frame_bytes * sum(entry.n_rows for entry in entries)
        if 2 * n_bytes < target_bytes:
            part = Part(files, spec, part_id)
            try:
                made_with = [read_library_versions(part), read_audio_s(part) is None]
            except StoreError:
                continue  # lost or damaged: `timbrel verify` tells of it
            yield SmallPart(part_id, n_bytes, json.dumps(made_with, sort_keys=True))


def _merge(files: Files, spec: StreamSpec, clips: _Clips) -> pa.Table:
    """Write the clips of several parts as one, by clip id; the rows to move, none where there was nothing to merge."""
    arrays: dict[str, Arrays] = {}
    audio_s: dict[str, float] = {}
    moved_from: dict[str, str] = {}
    versions: dict[str, str] = {}
    for part_id, entries in clips.items():
        part = Part(files, spec, part_id)
        if check_part(part) is not None:
            continue
        index = read_index(part)
        if not {*entries} <= {*index}:
            continue  # rows that lead elsewhere: `timbrel repair` mends them first
        found = read_rows(part, [array.name for array in spec.arrays], entries)
        arrays |= dict(zip((entry.clip_id for entry in entries), found, strict=True))
        audio_s |= dict(zip((entry.clip_id for entry in index), read_audio_s(part) or (), strict=False))
        moved_from |= dict.fromkeys((entry.clip_id for entry in entries), part_id)
        versions = read_library_versions(part)
    if len({*moved_from.values()}) < 2:
        return _MOVES.empty_table()
    try:
        merged, placed = write_part(files, spec, dict(sorted(arrays.items())), audio_s or None, versions)
    except OSError as error:
        raise StoreError(
            f"no merged part of stream {spec.stream} can be written below {files.uri}: {error.strerror or error}; make "
            "room or mend the rights; nothing was changed"
        ) from error
    moves = [
        (entry.clip_id, spec.stream, spec.fingerprint, merged.part_id, entry.first_row, moved_from[entry.clip_id])
        for entry in placed
    ]
    return pa.table(dict(zip(_MOVES.names, map(list, zip(*moves, strict=True)), strict=True)), schema=_MOVES)
