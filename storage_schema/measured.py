"""What a stream has cost so far: time by its rows, bytes by the parts on disk. What estimates are made of."""

from dataclasses import dataclass

import polars as pl

from storage_schema.layout import part_key
from storage_schema.snapshot import Snapshot

_PARTS_LOOKED_AT = 50
"""Parts of one stream are alike; fifty of them tell the bytes of all to some percent, and cost no walk of the store."""


@dataclass(frozen=True)
class Measured:
    """The cost of `n_clips` clips of one stream: seconds of one worker's time, seconds of audio, bytes on disk."""

    elapsed_s: float
    audio_s: float
    n_bytes: float
    n_clips: int


def measure(snapshot: Snapshot, stream: str, fingerprint: str) -> Measured | None:
    """What the stream's `ok` rows of that fingerprint have cost; None where it has none whose time was taken."""
    rows = snapshot.costs(stream, fingerprint)
    if rows.is_empty():
        return None
    parts = rows.group_by("part_id").agg(pl.col("audio_s").sum()).sort("part_id")
    seen = parts.gather_every(-(-len(parts) // _PARTS_LOOKED_AT))
    audio_s = float(rows["audio_s"].sum())
    n_bytes = sum(snapshot.files.n_bytes(part_key(stream, fingerprint, part_id)) for part_id in seen["part_id"])
    return Measured(
        elapsed_s=float(rows["elapsed_ms"].sum()) / 1000,
        audio_s=audio_s,
        n_bytes=n_bytes * audio_s / float(seen["audio_s"].sum()),
        n_clips=len(rows),
    )
