"""How a stream is described: its grid, its arrays with their units, and everything its numbers depend on.

A `StreamSpec` is written beside the data it describes (`spec.json`), so that a reader needs no code of ours to know
what a column means, and it is what the fingerprint is taken of.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import ContractError, InputError
from storage_schema.fingerprint import Json, canonical_json, fingerprint
from storage_schema.timebase import FrameGrid

Arrays = dict[str, NDArray[Any]]
"""One clip of one stream: array name to an array whose first axis is `frame`."""

Dtype = Literal["uint8", "int16", "float16", "float32"]


@dataclass(frozen=True)
class Channel:
    """One column of an array, such as one timbre descriptor."""

    name: str
    unit: str


@dataclass(frozen=True)
class ArraySpec:
    """One array of a stream, of shape (frame, *shape).

    `unit` is that of stored value times `scale`: a salience stored as uint8 has scale 1/255. "1" means no unit.
    `channels` names the columns where they differ from each other; otherwise it is empty.
    """

    name: str
    dtype: Dtype
    unit: str
    description: str
    shape: tuple[int, ...] = ()
    scale: float = 1.0
    channels: tuple[Channel, ...] = ()

    def __post_init__(self) -> None:
        if self.channels and self.shape != (len(self.channels),):
            raise ContractError(
                f"array {self.name}: {len(self.channels)} channels named, but its shape is {self.shape}"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes that one frame takes in memory."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class StreamSpec:
    """One stream, completely: what is stored, and what the numbers depend on.

    `version` counts changes of the extractor's code that change its numbers. `weights` maps a weight's name to the
    SHA-256 of its file. Every clip is mixed down by the mean of its channels and resampled by soxr at `resampler`
    quality before the extractor sees it.
    """

    stream: str
    extractor: str
    version: int
    grid: FrameGrid
    arrays: tuple[ArraySpec, ...]
    parameters: Mapping[str, Json] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    downmix: str = "mean"
    resampler: str = "soxr VHQ"

    @property
    def identity(self) -> dict[str, Json]:
        """All that changes the numbers, and nothing else; the fingerprint is the hash of this."""
        return {
            "extractor": self.extractor,
            "version": self.version,
            "grid": asdict(self.grid),
            "arrays": [{"name": a.name, "dtype": a.dtype, "shape": a.shape, "scale": a.scale} for a in self.arrays],
            "parameters": dict(self.parameters),
            "weights": dict(self.weights),
            "downmix": self.downmix,
            "resampler": self.resampler,
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)

    def array(self, name: str) -> ArraySpec:
        for spec in self.arrays:
            if spec.name == name:
                return spec
        raise InputError(f"stream {self.stream} has no array {name!r}; it has {', '.join(a.name for a in self.arrays)}")

    def check(self, arrays: Arrays, n_samples: int) -> None:
        """Raise ContractError unless `arrays` is what this spec promises for a clip of `n_samples` samples."""
        if set(arrays) != {a.name for a in self.arrays}:
            raise ContractError(f"stream {self.stream}: arrays {sorted(arrays)} do not match its spec")
        n_frames = self.grid.n_frames(n_samples)
        for spec in self.arrays:
            found, expected = arrays[spec.name], (n_frames, *spec.shape)
            if found.shape != expected or found.dtype != np.dtype(spec.dtype):
                raise ContractError(
                    f"stream {self.stream}, array {spec.name}: {found.dtype} {found.shape} was made where the spec "
                    f"promises {spec.dtype} {expected}"
                )
            if found.dtype.kind == "f" and not np.isfinite(found).all():
                raise ContractError(f"stream {self.stream}, array {spec.name}: NaN or infinity among the features")

    def to_json(self) -> str:
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "StreamSpec":
        """The spec written by `to_json`. Raises InputError where `text` is not one."""
        try:
            document = json.loads(text)
            arrays = tuple(
                ArraySpec(
                    **{
                        **array,
                        "shape": tuple(array["shape"]),
                        "channels": tuple(Channel(**channel) for channel in array["channels"]),
                    }
                )
                for array in document["arrays"]
            )
            return cls(**{**document, "grid": FrameGrid(**document["grid"]), "arrays": arrays})
        except (ValueError, TypeError, KeyError, ContractError) as error:
            raise InputError(f"this is no stream spec: {error}") from error
