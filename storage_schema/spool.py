"""Frames on their way into a part that are too many to be kept in memory: a scratch file that reads like an array."""

import tempfile
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from storage_schema.streams import ArraySpec


class Spool:
    """The frames of one array of one clip, (n, *shape), appended in order and read back in slices.

    They lie in a file without a name in the folder for temporary files, which is gone however the process ends.
    Appending raises OSError where there is no room.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.dtype = np.dtype(spec.dtype)
        self._frame_shape = spec.shape
        self._frame_bytes = spec.frame_bytes
        self._n_frames = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the last reference to this object
        weakref.finalize(self, self._file.close)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n_frames, *self._frame_shape)

    def __len__(self) -> int:
        return self._n_frames

    def append(self, frames: NDArray[Any]) -> None:
        """More frames, (n, *shape) of the array's own dtype."""
        assert frames.dtype == self.dtype
        assert frames.shape[1:] == self._frame_shape
        self._file.seek(self._n_frames * self._frame_bytes)
        self._file.write(np.ascontiguousarray(frames).data)
        self._n_frames += len(frames)

    def __getitem__(self, frames: slice) -> NDArray[Any]:
        """The frames of a slice, read from the disk; without a step."""
        first, stop, step = frames.indices(self._n_frames)
        assert step == 1
        values = np.empty((max(stop - first, 0), *self._frame_shape), self.dtype)
        self._file.seek(first * self._frame_bytes)
        n_read = self._file.readinto(values.reshape(-1).view(np.uint8).data)
        assert n_read == values.nbytes
        return values


Frames: TypeAlias = NDArray[Any] | Spool
"""One array of one clip, in memory or still on the disk."""


def join_rows(pieces: Sequence[Frames], first: int, stop: int) -> NDArray[Any]:
    """Rows [first, stop) of `pieces` laid end to end."""
    found, start = [], 0
    for piece in pieces:
        inside = slice(max(first - start, 0), max(min(stop - start, len(piece)), 0))
        if inside.start < inside.stop:
            found.append(piece[inside])
        start += len(piece)
    return np.concatenate(found)
