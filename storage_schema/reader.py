"""Reading one stream of a snapshot: clip by clip, or all together, as NumPy or xarray."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.files import Files
from storage_schema.parts import Part, PartEntry, read_rows
from storage_schema.streams import Arrays, StreamSpec

if TYPE_CHECKING:
    import xarray


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

    def read_all(self, clip_ids: Sequence[str] | None = None) -> Ragged:
        """The clips asked for, in that order, or all there are; each part is read once."""
        wanted = self.clip_ids if clip_ids is None else tuple(clip_ids)
        lacking = [clip_id for clip_id in wanted if clip_id not in self.locations]
        if lacking:
            raise InputError(
                f"stream {self.spec.stream} has {len(self.locations)} clips, but not {', '.join(lacking[:3])}"
                f"{' ...' if len(lacking) > 3 else ''}; `timbrel plan` says why"
            )
        n_rows = np.array([self.locations[clip_id].n_rows for clip_id in wanted], np.int64)
        offsets = np.concatenate([[0], np.cumsum(n_rows)]).astype(np.int64)
        arrays: Arrays = {
            array.name: np.empty((offsets[-1], *array.shape), np.dtype(array.dtype)) for array in self.spec.arrays
        }
        by_part: dict[str, list[int]] = defaultdict(list)
        for i, clip_id in enumerate(wanted):
            by_part[self.locations[clip_id].part_id].append(i)
        for part_id, members in by_part.items():
            part = Part(self.files, self.spec, part_id)
            entries = [
                PartEntry(wanted[i], self.locations[wanted[i]].first_row, self.locations[wanted[i]].n_rows)
                for i in members
            ]
            for i, found in zip(members, read_rows(part, list(arrays), entries), strict=True):
                for name, values in found.items():
                    arrays[name][offsets[i] : offsets[i + 1]] = values
        return Ragged(wanted, offsets, arrays)

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
