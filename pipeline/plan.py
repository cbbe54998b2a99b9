"""Wanted minus done, with the reason for each clip. Columns in, columns out: a million clips are no million objects.

`plan_extraction` and `plan_retry` are the functions that touch a snapshot and files; all that decides lies in
`plan_stream`, which is pure.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.locations import is_on_s3, join
from storage_schema.errors import FILE_FAILURES, InputError, StoreError
from storage_schema.snapshot import Snapshot
from storage_schema.streams import StreamSpec

_UNKNOWN_CHANGE = "made with another fingerprint"

UNKNOWN_S = 10.0
"""What a clip whose header tells no length is taken for when clips are put in order and cut into batches."""

_CLIP_COLUMNS = ("clip_id", "root", "uri", "n_bytes", "mtime_ns", "duration_s")


@dataclass(frozen=True)
class WantedClip:
    """One clip to extract: `paths` are all the places its bytes were seen, `reason` says why it is wanted."""

    clip_id: str
    paths: tuple[str, ...]
    n_bytes: int
    mtime_ns: int
    duration_s: float | None
    reason: str


@dataclass(frozen=True)
class StreamPlan:
    """What one stream still lacks, of `n_clips`; `n_quarantined` of them failed before and are left alone.

    `wanted` has one row a clip, the longest first and then by clip_id: clip_id; root and uri, lists of every place the
    bytes lie; n_bytes, mtime_ns, duration_s (nullable); reason; is_lost, where an earlier row has to go first.
    """

    spec: StreamSpec
    n_clips: int
    n_done: int
    n_quarantined: int
    wanted: pa.Table

    @property
    def n_wanted(self) -> int:
        return int(self.wanted.num_rows)

    @cached_property
    def reasons(self) -> Mapping[str, int]:
        """Reason to number of clips, the commonest first."""
        counts = pc.value_counts(self.wanted["reason"]).to_pylist()
        return {each["values"]: each["counts"] for each in sorted(counts, key=lambda each: -each["counts"])}

    @cached_property
    def audio_s(self) -> float:
        """Seconds of audio to go through, by the files' headers."""
        return float(pc.sum(self.wanted["duration_s"]).as_py() or 0.0)

    @property
    def lengths_s(self) -> pa.ChunkedArray:
        """The wanted clips' lengths, with a guess where a header tells none."""
        return pc.fill_null(self.wanted["duration_s"], UNKNOWN_S)

    @property
    def lost(self) -> list[str]:
        """The clips whose part is gone from the disk, though the catalogue names it."""
        ids: list[str] = self.wanted.filter(self.wanted["is_lost"])["clip_id"].to_pylist()
        return ids

    def without_done(self, outstanding: pa.ChunkedArray) -> "StreamPlan":
        """What is left of this plan where only the clips `outstanding` still are."""
        left = self.wanted.filter(pc.is_in(self.wanted["clip_id"], outstanding.combine_chunks()))
        return replace(self, n_done=self.n_done + self.n_wanted - left.num_rows, wanted=left)

    def clips(self, start: int, stop: int) -> tuple[WantedClip, ...]:
        """Rows [start, stop) of `wanted` as objects."""
        rows = self.wanted.slice(start, stop - start).to_pylist()
        return tuple(
            WantedClip(row["clip_id"], _paths(row), row["n_bytes"], row["mtime_ns"], row["duration_s"], row["reason"])
            for row in rows
        )


@dataclass(frozen=True)
class ExtractionPlan:
    """One `StreamPlan` a stream, against one snapshot."""

    snapshot_id: str
    streams: tuple[StreamPlan, ...]

    @property
    def n_wanted(self) -> int:
        return sum(stream.n_wanted for stream in self.streams)

    @property
    def n_quarantined(self) -> int:
        return sum(stream.n_quarantined for stream in self.streams)


def plan_extraction(snapshot: Snapshot, specs: Sequence[StreamSpec], *, retry_failed: bool = False) -> ExtractionPlan:
    """What has to be extracted so that every clip of the snapshot has every stream of `specs`.

    A clip that failed before is wanted again where its file was to blame and is back as it was ingested, or
    with retry_failed.
    Raises InputError where two specs are of one stream: a plan has one row a stream.
    """
    _check_different(specs)
    is_back = cache(_is_back)  # the same few files for every stream
    plans = []
    for spec in specs:
        outstanding = snapshot.outstanding(spec.stream, spec.fingerprint)
        retried = None if retry_failed else _returned(outstanding, is_back)
        changes = {
            other: describe_change(_spec_or_none(snapshot, spec.stream, other), spec)
            for other in _distinct(outstanding["other_fingerprint"])
        }
        plans.append(plan_stream(spec, outstanding, snapshot.n_clips, changes, retried=retried))
    return ExtractionPlan(snapshot.id, tuple(plans))


def plan_retry(snapshot: Snapshot, failed: Sequence[tuple[StreamSpec, Collection[str]]]) -> ExtractionPlan:
    """The clips named beside each spec once more, of those that failed, and nothing else."""
    _check_different([spec for spec, _ in failed])
    plans = []
    for spec, clip_ids in failed:
        outstanding = snapshot.outstanding(spec.stream, spec.fingerprint)
        n_done = snapshot.n_clips - outstanding.num_rows
        has_failed = outstanding.filter(pc.is_valid(outstanding["failure"]))
        plan = plan_stream(spec, has_failed, snapshot.n_clips, {}, retried=clip_ids)
        plans.append(replace(plan, n_done=n_done))
    return ExtractionPlan(snapshot.id, tuple(plans))


def plan_stream(
    spec: StreamSpec,
    outstanding: pa.Table,
    n_clips: int,
    changes: Mapping[str, str],
    *,
    retried: Collection[str] | None = (),
) -> StreamPlan:
    """One stream's plan from the clips it lacks (`Snapshot.outstanding`).

    changes: what distinguishes each other fingerprint of the stream from this one, in words.
    retried: the clips that are wanted although they failed before; None for all.
    """
    n_done = n_clips - outstanding.num_rows
    if retried is not None:
        ids = pa.array(retried, outstanding.schema.field("clip_id").type)
        is_wanted = pc.or_(pc.is_null(outstanding["failure"]), pc.is_in(outstanding["clip_id"], ids))
        outstanding = outstanding.filter(is_wanted)
    wanted = outstanding.select([*_CLIP_COLUMNS, "is_lost"]).append_column("reason", _reasons(outstanding, changes))
    wanted = wanted.take(_longest_first(wanted))
    return StreamPlan(spec, n_clips, n_done, n_clips - n_done - wanted.num_rows, wanted)


def describe_change(old: StreamSpec | None, new: StreamSpec) -> str:
    """What differs between two specs of one stream, such as `parameter hop 160 -> 400`.

    Causes only: a grid, arrays or the name of a weight that follow from a parameter are not told beside it.
    """
    if old is None:
        return _UNKNOWN_CHANGE
    before, after = _causes(old), _causes(new)
    differences = [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in before | after
        if before.get(name) != after.get(name)
        and not (name.startswith("weights ") and name not in before.keys() & after)
    ]
    return ", ".join(differences) or _UNKNOWN_CHANGE


def _reasons(outstanding: pa.Table, changes: Mapping[str, str]) -> pa.Array:
    """Why each clip is wanted, as a dictionary array; the first cause that applies."""
    failure, other = outstanding["failure"], outstanding["other_fingerprint"]
    named = {kind: f"earlier failure that may be retried: {kind}" for kind in _distinct(failure)}
    reason = pc.case_when(
        pc.make_struct(pc.is_valid(failure), outstanding["is_lost"], pc.is_valid(other), outstanding["was_replaced"]),
        _renamed(failure, named),
        "lost part",
        _renamed(other, changes),
        "changed audio",
        "new clip",
    )
    return reason.dictionary_encode()


def _distinct(column: pa.ChunkedArray) -> list[str]:
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)


def _renamed(column: pa.ChunkedArray, names: Mapping[str, str]) -> pa.ChunkedArray:
    """`names` of the values of a column; null stays null."""
    position = pc.index_in(column, pa.array(names.keys(), column.type))
    return pc.take(pa.array(names.values(), pa.string()), position)


def _longest_first(wanted: pa.Table) -> pa.Array:
    """The order of the rows by length, then by clip_id, so that one store always gives one plan."""
    keys = wanted.select(["clip_id"]).append_column("length_s", pc.fill_null(wanted["duration_s"], UNKNOWN_S))
    return pc.sort_indices(keys, sort_keys=[("length_s", "descending"), ("clip_id", "ascending")])


def _returned(outstanding: pa.Table, is_back: Callable[[str, int, int], bool]) -> list[str]:
    """The clips whose file was to blame for their failure and is back."""
    failed = outstanding.filter(pc.is_in(outstanding["failure"], pa.array(FILE_FAILURES)))
    rows = failed.select([*_CLIP_COLUMNS]).to_pylist()
    return [
        row["clip_id"] for row in rows if any(is_back(path, row["n_bytes"], row["mtime_ns"]) for path in _paths(row))
    ]


def _is_back(path: str, n_bytes: int, mtime_ns: int) -> bool:
    """Whether the file that was ingested lies at `path` and may be read. Nobody asks a bucket while planning."""
    if is_on_s3(path):
        return False
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    is_same = (status.st_size, status.st_mtime_ns) == (n_bytes, mtime_ns)
    return is_same and stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)


def _paths(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(join(root, uri) for root, uri in zip(row["root"], row["uri"], strict=True)))


def _check_different(specs: Sequence[StreamSpec]) -> None:
    twice = [name for name, n in Counter(spec.stream for spec in specs).items() if n > 1]
    if twice:
        raise InputError(f"stream {twice[0]} is asked for more than once; name each stream once, or plan twice")


def _causes(spec: StreamSpec) -> dict[str, str]:
    """All that somebody can change about a stream, as lines of a table."""
    causes = {f"parameter {name}": str(value) for name, value in spec.parameters.items()}
    causes |= {f"weights {name}": sha256[:8] for name, sha256 in spec.weights.items()}
    return causes | {
        "extractor": spec.extractor,
        "extractor version": str(spec.version),
        "downmix": spec.downmix,
        "resampler": spec.resampler,
    }


def _spec_or_none(snapshot: Snapshot, stream: str, fingerprint: str) -> StreamSpec | None:
    try:
        return snapshot.spec(stream, fingerprint)
    except StoreError:
        return None
