"""One part: an immutable Zarr v3 group with one stream of one batch of clips. The only module that imports zarr.

Clips lie end to end along `frame` (the "contiguous ragged array" of the CF conventions, section 9.3.3), beside them

    clip_id (clip, 16) uint8     the 128-bit id of each clip
    offset  (clip,) int64        its first frame
    length  (clip,) int64        how many frames it has

so that a part explains itself without the catalogue. A part is written once, into a folder that is renamed into place
when it is whole; nothing ever appends to it, because concurrent appends and partial shard writes lose data silently.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from storage_schema.atomic import new_folder
from storage_schema.errors import ContractError, StoreError
from storage_schema.streams import Arrays, StreamSpec

CHUNK_FRAMES = 1024
"""One chunk is what a reader of a single clip has to decompress: 26 s at 25 ms."""

_INDEX = ("clip_id", "offset", "length")
_LIBRARIES = ("numpy", "zarr", "torch", "essentia", "librosa", "soundfile", "soxr")


@dataclass(frozen=True)
class PartEntry:
    """Where one clip lies in a part: frames [first_row, first_row + n_rows)."""

    clip_id: str
    first_row: int
    n_rows: int


def write_part(path: Path, spec: StreamSpec, clips: Mapping[str, Arrays]) -> list[PartEntry]:
    """Write `clips` (clip_id to arrays) as the part at `path`, durable when this returns; one entry a clip.

    Raises OSError where the disk does not take it; then nothing is left of it.
    """
    if not clips:
        raise ContractError("a part holds at least one clip")
    lengths = np.array([len(arrays[spec.arrays[0].name]) for arrays in clips.values()], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    ids = np.array([list(bytes.fromhex(clip_id)) for clip_id in clips], np.uint8)
    with new_folder(path) as folder:
        attributes = {
            "stream": spec.stream,
            "fingerprint": spec.fingerprint,
            "library_versions": {name: version(name) for name in _LIBRARIES},
        }
        group = zarr.create_group(LocalStore(folder), zarr_format=3, attributes=attributes)
        for array in spec.arrays:
            frames = np.concatenate([arrays[array.name] for arrays in clips.values()])
            _write_array(group, array.name, frames, ("frame", *(f"{array.name}_{i}" for i in range(len(array.shape)))))
        _write_array(group, "clip_id", ids, ("clip", "byte"))
        _write_array(group, "offset", offsets, ("clip",))
        _write_array(group, "length", lengths, ("clip",))
    return [PartEntry(clip_id, int(first), int(n)) for clip_id, first, n in zip(clips, offsets, lengths, strict=True)]


def _write_array(group: zarr.Group, name: str, values: NDArray[Any], dims: tuple[str, ...]) -> None:
    """One array: one shard, chunks of CHUNK_FRAMES along the first axis, zstd, then a CRC32C a chunk."""
    rows = min(CHUNK_FRAMES, len(values))
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(rows, *values.shape[1:]),
        shards=(-(-len(values) // rows) * rows, *values.shape[1:]),
        compressors=(ZstdCodec(level=3), Crc32cCodec()),
        dimension_names=dims,
        config={"write_empty_chunks": True},  # else a chunk of zeros and a lost file would look the same
    )
    array[...] = values


def read_index(path: Path) -> list[PartEntry]:
    """Which clips a part holds, by its own account. Raises StoreError where it is gone or damaged."""
    ids, offsets, lengths = _read_arrays(path, _INDEX).values()
    return [
        PartEntry(bytes(row).hex(), int(first), int(n)) for row, first, n in zip(ids, offsets, lengths, strict=True)
    ]


def read_rows(path: Path, names: Sequence[str], spans: Sequence[PartEntry]) -> Iterator[Arrays]:
    """The arrays `names` of each entry, in the order asked for.

    One entry reads only the chunks it touches; several read each array once and cut it.
    Raises StoreError where the part is gone, damaged or shorter than the entry says.
    """
    first = spans[0].first_row if len(spans) == 1 else 0
    stop = first + spans[0].n_rows if len(spans) == 1 else None
    whole = _read_arrays(path, names, first, stop)
    for span in spans:
        arrays = {name: values[span.first_row - first :][: span.n_rows] for name, values in whole.items()}
        if any(len(values) != span.n_rows for values in arrays.values()):
            raise StoreError(
                f"part {path.name} is shorter than the catalogue says; its clips have to be extracted again"
            )
        yield arrays


def _read_arrays(path: Path, names: Sequence[str], first: int = 0, stop: int | None = None) -> Arrays:
    """Rows [first, stop) of the arrays `names`, all of them by default."""
    group = _open(path)
    try:
        return {name: np.asarray(_array(group, name)[first:stop]) for name in names}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StoreError(f"part {path.name} is damaged ({error}); its clips have to be extracted again") from error


def _open(path: Path) -> zarr.Group:
    try:
        return zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"part {path.name} is missing or is no Zarr group; extract its clips again") from error


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array, all of its files present: Zarr itself would read a lost one as zeros."""
    array = group[name]
    if not isinstance(array, zarr.Array) or array.nchunks_initialized < array.nchunks:
        raise KeyError(f"a file of array {name} is missing")
    return array
