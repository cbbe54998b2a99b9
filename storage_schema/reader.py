"""Reading one stream of a snapshot: clip by clip, or all together, as NumPy or xarray."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storage_schema.chunks import CHUNK_FRAMES
from storage_schema.errors import InputError
from storage_schema.files import Files
from storage_schema.parts import Part, PartEntry, read_rows
from storage_schema.streams import Arrays, StreamSpec

if TYPE_CHECKING:
    import xarray

READ_BYTES = 32 * 2**20
"""What is read of a part at a time, beside the result: large enough that opening the part does not tell."""


@dataclass(frozen=True)
class Location:
    """Where a clip's frames lie: part, first frame in it, number of frames."""

    part_id: str
    first_row: int
    n_rows: int


@dataclass(frozen=True)
class Ragged:
    """Many clips end to end: clip i has the frames [offsets[i], offsets[i + 1]) of every array."""

    clip_ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    arrays: Arrays

    def clip(self, clip_id: str) -> Arrays:
        """The arrays of one clip, as views. KeyError where it is not among them."""
        i = self._places[clip_id]
        return {name: values[self.offsets[i] : self.offsets[i + 1]] for name, values in self.arrays.items()}

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """(n_clips,) frames a clip."""
        return np.diff(self.offsets)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {clip_id: i for i, clip_id in enumerate(self.clip_ids)}


@dataclass(frozen=True)
class StreamReader:
    """The clips of one stream with one fingerprint. `locations` maps each clip_id that is there to its frames."""

    spec: StreamSpec
    files: Files
    locations: Mapping[str, Location]

    @property
    def fingerprint(self) -> str:
        return self.spec.fingerprint

    @property
    def clip_ids(self) -> tuple[str, ...]:
        return tuple(self.locations)

    def read(self, clip_id: str) -> Arrays:
        """The arrays of one clip as stored. Raises InputError where the stream lacks it, StoreError on damage."""
        return self.read_all([clip_id]).arrays

    def read_all(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        arrays: Sequence[str] | None = None,
        read_bytes: int = READ_BYTES,
    ) -> Ragged:
        """The clips asked for, in that order, or all there are; no frame is read twice.

        arrays: the names of those that are wanted, all of them by default. read_bytes: how much memory reading may
        take beside the result; a clip longer than that is still read in one piece.
        """
        wanted = self.clip_ids if clip_ids is None else tuple(clip_ids)
        lacking = [clip_id for clip_id in wanted if clip_id not in self.locations]
        if lacking:
            raise InputError(
                f"stream {self.spec.stream} has {len(self.locations)} clips, but not {', '.join(lacking[:3])}"
                f"{' ...' if len(lacking) > 3 else ''}; `timbrel plan` says why"
            )
        specs = self.spec.arrays if arrays is None else tuple(self.spec.array(name) for name in arrays)
        n_rows = np.array([self.locations[clip_id].n_rows for clip_id in wanted], np.int64)
        offsets = np.concatenate([[0], np.cumsum(n_rows)]).astype(np.int64)
        result: Arrays = {spec.name: np.empty((offsets[-1], *spec.shape), np.dtype(spec.dtype)) for spec in specs}
        places: dict[str, list[tuple[PartEntry, int]]] = defaultdict(list)  # by part: what lies there, and what for
        for i, clip_id in enumerate(wanted):
            location = self.locations[clip_id]
            places[location.part_id].append((PartEntry(clip_id, location.first_row, location.n_rows), i))
        most_rows = read_bytes // sum(spec.frame_bytes for spec in specs)
        for part_id, members in places.items():
            members.sort(key=lambda member: member[0].first_row)
            part = Part(self.files, self.spec, part_id)
            for run in _runs(members, most_rows):
                found = read_rows(part, list(result), [entry for entry, _ in run])
                for (_, i), rows in zip(run, found, strict=True):
                    for name, values in rows.items():
                        result[name][offsets[i] : offsets[i + 1]] = values
        return Ragged(wanted, offsets, result)

    def to_xarray(self, clip_id: str) -> "xarray.Dataset":
        """One clip in physical units (the stored scale applied), with its times in seconds and its channel names."""
        import xarray

        variables: dict[str, Any] = {}
        coordinates: dict[str, Any] = {}
        n_frames = 0
        for name, values in self.read(clip_id).items():
            array = self.spec.array(name)
            n_frames = len(values)
            axes = ["frame", *(f"{name}_{i}" for i in range(values.ndim - 1))]
            if array.channels:
                axes[1] = f"{name}_channel"
                coordinates[axes[1]] = [channel.name for channel in array.channels]
            scaled = values if array.scale == 1 else values.astype(np.float32) * np.float32(array.scale)
            variables[name] = (axes, scaled, {"units": array.unit, "long_name": array.description})
        times = [self.spec.grid.centre_s(frame) for frame in range(n_frames)]
        coordinates["time"] = ("frame", times, {"units": "s"})
        attributes = {"stream": self.spec.stream, "fingerprint": self.fingerprint, "clip_id": clip_id}
        return xarray.Dataset(variables, coordinates, attributes)


def _runs(members: Sequence[tuple[PartEntry, int]], most_rows: int) -> Iterator[list[tuple[PartEntry, int]]]:
    """Neighbours that are read together: no gap of a whole chunk between them, at most `most_rows` from end to end."""
    run: list[tuple[PartEntry, int]] = []
    for member in members:
        entry = member[0]
        if run:
            last = run[-1][0]
            is_near = entry.first_row - (last.first_row + last.n_rows) < CHUNK_FRAMES
            if not is_near or entry.first_row + entry.n_rows - run[0][0].first_row > most_rows:
                yield run
                run = []
        run.append(member)
    if run:
        yield run
