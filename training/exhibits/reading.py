"""Frames of a handful of clips at a time, so that a page costs little memory however many clips a run has tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage_schema.reader import StreamReader
from storage_schema.snapshot import Snapshot
from training.exhibits.judged import Judged
from training.model import FoldModel
from training.windows import StreamFrames, clip_ticks

CHUNK_CLIPS = 256
"""Clips whose frames are in memory at a time."""


@dataclass(frozen=True)
class Clips:
    """The frames of some test clips. `places` are their positions among the judged; ticks are milliseconds."""

    places: NDArray[np.int64]
    frames: Mapping[str, StreamFrames]
    ticks: NDArray[np.int64]


@dataclass(frozen=True)
class ClipReader:
    """Reads the streams that a run's models hear."""

    judged: Judged
    readers: Mapping[str, StreamReader]
    durations_s: Mapping[str, float | None]

    @classmethod
    def of(cls, snapshot: Snapshot, judged: Judged, model: FoldModel) -> "ClipReader":
        """Raises InputError where the snapshot has none of a stream that `model` hears."""
        readers = {stream: snapshot.stream(stream, spec.fingerprint) for stream, spec in model.specs.items()}
        table = snapshot.clips
        durations_s = dict(zip(table["clip_id"].to_pylist(), table["duration_s"].to_pylist(), strict=True))
        return cls(judged, readers, durations_s)

    def readable(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `places` whose clips have every stream still."""
        there = set.intersection(*(set(reader.clip_ids) for reader in self.readers.values()))
        return np.array([i for i in places.tolist() if self.judged.clip_ids[i] in there], np.int64)

    def read(self, places: NDArray[np.int64]) -> Clips:
        ids = [self.judged.clip_ids[i] for i in places.tolist()]
        frames = {}
        for stream, reader in self.readers.items():
            ragged = reader.read_all(ids)
            frames[stream] = StreamFrames.end_to_end(reader.spec, ragged.n_frames, ragged.arrays)
        grids = [(one.spec.grid, one.lengths) for one in frames.values()]
        ticks = []
        for i, clip_id in enumerate(ids):  # the rule of training.corpus: no clip outlasts its frames
            longest_s = min(int(n[i]) * grid.hop / grid.sample_rate_hz for grid, n in grids)
            stated_s = self.durations_s.get(clip_id)
            if stated_s is None:
                stated_s = min(grid.centre_s(int(n[i]) - 1) for grid, n in grids)
            ticks.append(clip_ticks(min(stated_s, longest_s)))
        return Clips(places, frames, np.array(ticks, np.int64))


def chunks(places: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    """`places` in stretches of at most `CHUNK_CLIPS`."""
    return [places[start : start + CHUNK_CLIPS] for start in range(0, len(places), CHUNK_CLIPS)]
