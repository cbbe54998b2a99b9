"""Wanted minus done, with the reason for each clip. Pure: it takes tables and returns values.

`plan_extraction` is the one function that touches a snapshot; all that decides lies in `plan_stream`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage_schema.errors import InputError, StoreError
from storage_schema.snapshot import Snapshot
from storage_schema.streams import StreamSpec

_UNKNOWN_CHANGE = "made with another fingerprint"


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
    """What one stream still lacks. `n_clips` = `n_done` + `n_quarantined` (failed before, left alone) + wanted."""

    spec: StreamSpec
    n_clips: int
    n_quarantined: int
    wanted: tuple[WantedClip, ...]

    @property
    def n_done(self) -> int:
        return self.n_clips - self.n_quarantined - len(self.wanted)

    @cached_property
    def reasons(self) -> Mapping[str, int]:
        """Reason to number of clips, the commonest first."""
        return dict(Counter(clip.reason for clip in self.wanted).most_common())

    @property
    def audio_s(self) -> float:
        """Seconds of audio to go through, by the files' headers."""
        return sum(clip.duration_s or 0.0 for clip in self.wanted)


@dataclass(frozen=True)
class ExtractionPlan:
    """One `StreamPlan` a stream, against one snapshot."""

    snapshot_id: str
    streams: tuple[StreamPlan, ...]

    @property
    def n_wanted(self) -> int:
        return sum(len(stream.wanted) for stream in self.streams)

    @property
    def n_quarantined(self) -> int:
        return sum(stream.n_quarantined for stream in self.streams)


def plan_extraction(snapshot: Snapshot, specs: Sequence[StreamSpec], *, retry_failed: bool = False) -> ExtractionPlan:
    """What has to be extracted so that every clip of the snapshot has every stream of `specs`.

    retry_failed: whether clips that failed before are wanted again.
    Raises InputError where two specs are of one stream: a plan has one row a stream.
    """
    twice = [name for name, n in Counter(spec.stream for spec in specs).items() if n > 1]
    if twice:
        raise InputError(f"stream {twice[0]} is asked for more than once; name each stream once, or plan twice")
    coverage = snapshot.coverage()
    n_clips = len({clip_id for clip_id in snapshot.clips["clip_id"].to_pylist() if clip_id})
    plans = []
    for spec in specs:
        older = {entry.fingerprint: entry for entry in coverage if entry.stream == spec.stream}
        changes = {
            print_: describe_change(_spec_or_none(snapshot, spec.stream, print_), spec)
            for print_ in older
            if print_ != spec.fingerprint
        }
        outstanding = snapshot.outstanding(spec.stream, spec.fingerprint)
        plans.append(plan_stream(spec, outstanding, n_clips, changes, retry_failed=retry_failed))
    return ExtractionPlan(snapshot.id, tuple(plans))


def plan_stream(
    spec: StreamSpec, outstanding: pa.Table, n_clips: int, changes: Mapping[str, str], *, retry_failed: bool
) -> StreamPlan:
    """One stream's plan from the clips it lacks (`Snapshot.outstanding`).

    changes: what distinguishes each other fingerprint of the stream from this one, in words.
    """
    wanted = []
    n_quarantined = 0
    for row in outstanding.to_pylist():
        if row["failure"] is not None and not retry_failed:
            n_quarantined += 1
        else:
            wanted.append(_wanted_clip(row, changes))
    return StreamPlan(spec, n_clips, n_quarantined, tuple(wanted))


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


def _wanted_clip(row: Mapping[str, Any], changes: Mapping[str, str]) -> WantedClip:
    if row["failure"] is not None:
        reason = f"earlier failure: {row['failure']}"
    elif row["other_fingerprint"] is not None:
        reason = changes[row["other_fingerprint"]]
    else:
        reason = "new clip"
    paths = tuple(sorted(str(Path(root, uri)) for root, uri in zip(row["root"], row["uri"], strict=True)))
    return WantedClip(row["clip_id"], paths, row["n_bytes"], row["mtime_ns"], row["duration_s"], reason)


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
