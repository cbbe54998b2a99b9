"""One part: an immutable Zarr v3 group with one stream of one batch of clips. With `chunks` and `codecs` the only
module that speaks Zarr.

Clips lie end to end along `frame` (the "contiguous ragged array" of the CF conventions, section 9.3.3), beside them

    clip_id (clip, 16) uint8     the 128-bit id of each clip
    offset  (clip,) int64        its first frame
    length  (clip,) int64        how many frames it has

so that a part explains itself without the catalogue. The group's attributes hold the hash of every other file of the
part, and the part's id is the hash of the group's metadata: a part is named by its content, down to the last byte, and
the same batch extracted twice is the same part. It is written once; nothing ever appends to it, because concurrent
appends and partial shard writes lose data silently.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from storage_schema.chunks import write_array
from storage_schema.errors import ContractError, StoreError
from storage_schema.files import Files
from storage_schema.layout import PART_SUFFIX, part_key, parts_key
from storage_schema.spool import Frames
from storage_schema.streams import Arrays, StreamSpec

METADATA = "zarr.json"
"""Zarr's own name for the description of a group or an array; the group's is what makes a folder a part."""

_DAMAGE = frozenset([None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO])
"""What a disk says of files that are lost or spoilt; all else speaks of rights, or of the way to the server."""

_ATTRIBUTES_V1 = {"stream", "fingerprint", "library_versions"}
"""By exactly these a part of schema version 1 is known. Not by what it lacks: a flipped bit could take that away."""

_INDEX = ("clip_id", "offset", "length")
_LIBRARIES = ("numpy", "zarr", "torch", "essentia", "librosa", "soundfile", "soxr")


@dataclass(frozen=True)
class PartEntry:
    """Where one clip lies in a part: frames [first_row, first_row + n_rows)."""

    clip_id: str
    first_row: int
    n_rows: int


@dataclass(frozen=True)
class Part:
    """One part of a store, whether or not it is there."""

    files: Files
    spec: StreamSpec
    part_id: str

    @property
    def key(self) -> str:
        return part_key(self.spec.stream, self.spec.fingerprint, self.part_id)

    def __str__(self) -> str:
        return f"part {self.part_id} of stream {self.spec.stream}"


def list_parts(files: Files, stream: str, fingerprint: str) -> list[str]:
    """The ids of the parts that lie in the store now, whole or not. Raises StoreError where nobody can tell."""
    try:
        entries = files.entries(parts_key(stream, fingerprint))
    except OSError as error:
        raise StoreError(
            f"the parts of stream {stream} at {files.uri} cannot be listed: {error.strerror or error}"
        ) from error
    return [entry.name.removesuffix(PART_SUFFIX) for entry in entries if entry.name.endswith(PART_SUFFIX)]


def write_part(
    files: Files,
    spec: StreamSpec,
    clips: Mapping[str, Mapping[str, Frames]],
    audio_s: Mapping[str, float] | None = None,
    library_versions: Mapping[str, str] | None = None,
) -> tuple[Part, list[PartEntry]]:
    """Write `clips` (clip_id to arrays) as a new part, durable when this returns; one entry a clip.

    audio_s: seconds of audio each clip was made of, kept so that the catalogue can be rebuilt.
    library_versions: what the numbers were made with, by default what is installed now.
    Where the very same part is there already it is left alone, or replaced if it is damaged.
    Raises OSError where the disk does not take it; then nothing is left of it.
    """
    if not clips:
        raise ContractError("a part holds at least one clip")
    lengths = np.array([len(arrays[spec.arrays[0].name]) for arrays in clips.values()], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    ids = np.array([list(bytes.fromhex(clip_id)) for clip_id in clips], np.uint8)
    with files.scratch() as folder:
        group = zarr.create_group(LocalStore(folder), zarr_format=3)
        for array in spec.arrays:
            frames = [arrays[array.name] for arrays in clips.values()]
            write_array(group, array.name, frames, ("frame", *(f"{array.name}_{i}" for i in range(len(array.shape)))))
        write_array(group, "clip_id", [ids], ("clip", "byte"))
        write_array(group, "offset", [offsets], ("clip",))
        write_array(group, "length", [lengths], ("clip",))
        group.update_attributes(
            {
                "stream": spec.stream,
                "fingerprint": spec.fingerprint,
                "library_versions": library_versions or {name: version(name) for name in _LIBRARIES},
                "audio_s": None if audio_s is None else [audio_s[clip_id] for clip_id in clips],
                "files": {
                    path.relative_to(folder).as_posix(): _digest(path.read_bytes())
                    for path in sorted(folder.rglob("*"))
                    if path.is_file() and path != folder / METADATA
                },
            }
        )
        part = Part(files, spec, _digest((folder / METADATA).read_bytes()))
        _place(part, folder)
    return part, [
        PartEntry(clip_id, int(first), int(n)) for clip_id, first, n in zip(clips, offsets, lengths, strict=True)
    ]


def read_index(part: Part) -> list[PartEntry]:
    """Which clips a part holds, by its own account. Raises StoreError where it is gone or damaged."""
    ids, offsets, lengths = _read_arrays(part, _INDEX).values()
    return [
        PartEntry(bytes(row).hex(), int(first), int(n)) for row, first, n in zip(ids, offsets, lengths, strict=True)
    ]


def read_audio_s(part: Part) -> list[float] | None:
    """Seconds of audio of each clip, in the order of the index; None where the part does not say."""
    return _attributes(part).get("audio_s")


def read_library_versions(part: Part) -> dict[str, str]:
    """The versions of the libraries that a part's numbers were made with."""
    return dict(_attributes(part)["library_versions"])


def renew(part: Part) -> None:
    """Write a part's own metadata over itself: its age, which `timbrel gc` goes by, begins again."""
    key = f"{part.key}/{METADATA}"
    part.files.write(key, part.files.read(key))


def read_rows(part: Part, names: Sequence[str], spans: Sequence[PartEntry]) -> Iterator[Arrays]:
    """The arrays `names` of each entry, in the order asked for.

    Only the chunks from the first to the last frame asked for are read, each array once, and cut.
    Raises StoreError where the part is gone, damaged or shorter than the entry says.
    """
    first = min(span.first_row for span in spans)
    whole = _read_arrays(part, names, first, max(span.first_row + span.n_rows for span in spans))
    for span in spans:
        arrays = {name: values[span.first_row - first :][: span.n_rows] for name, values in whole.items()}
        if any(len(values) != span.n_rows for values in arrays.values()):
            raise StoreError(f"{part} is shorter than the catalogue says; `timbrel repair` has its clips made again")
        yield arrays


def check_part(part: Part) -> str | None:
    """What is wrong with a part, in a few words, or None: every byte of it, and that its clips tile its frames.

    Raises StoreError where nobody can tell, because it may not be read or its server does not answer.
    """
    try:
        with _reach(part):
            content = part.files.read(f"{part.key}/{METADATA}")
        attributes = json.loads(content)["attributes"]
        if attributes.keys() == _ATTRIBUTES_V1:  # which left it to the chunks' own CRC32C
            _read_arrays(part, [array.name for array in part.spec.arrays])
        else:
            _check_digests(part, content, attributes.get("files", {}))
        group = _open(part)
        n_frames = {_array(group, array.name).shape[0] for array in part.spec.arrays}
        return _untiled(read_index(part), n_frames, part.spec, attributes.get("audio_s"))
    except _UnreachableError:
        raise
    except FileNotFoundError:
        return f"it has no {METADATA}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
        return str(error)


def _check_digests(part: Part, metadata: bytes, digests: Mapping[str, str]) -> None:
    """Raise ValueError at the first file that is not, byte for byte, what was written."""
    if _digest(metadata) != part.part_id:
        raise ValueError(f"{METADATA} was changed")
    for name, digest in digests.items():
        try:
            with _reach(part):
                content = part.files.read(f"{part.key}/{name}")
        except FileNotFoundError as error:
            raise ValueError(f"{name} is missing") from error
        if _digest(content) != digest:
            raise ValueError(f"{name} was changed")


def _untiled(
    index: Sequence[PartEntry], n_frames: set[int], spec: StreamSpec, audio_s: Sequence[float] | None
) -> str | None:
    """Where the clips do not lie end to end over all frames, or one has not as many frames as its audio gives."""
    stop = 0
    for i, entry in enumerate(index):
        if entry.first_row != stop or entry.n_rows < 1:
            return f"clip {entry.clip_id} does not follow the one before it"
        stop += entry.n_rows
        if audio_s is not None:
            promised = spec.grid.n_frames(round(audio_s[i] * spec.grid.sample_rate_hz))
            if entry.n_rows != promised:
                return f"clip {entry.clip_id} has {entry.n_rows} frames where its audio gives {promised}"
    return None if n_frames == {stop} else f"its clips have {stop} frames, its arrays {sorted(n_frames)}"


class _UnreachableError(StoreError):
    """A part that may well be whole."""


@contextmanager
def _reach(part: Part) -> Iterator[None]:
    """Pass on the OSError that says a part is damaged; raise StoreError where it could not be got at."""
    try:
        with part.files.in_our_words(part.key):
            yield
    except OSError as error:
        if error.errno in _DAMAGE:
            raise
        raise _UnreachableError(f"{part} of {part.files.uri} cannot be read: {error.strerror}") from error


def _place(part: Part, folder: Path) -> None:
    try:
        part.files.place(folder, part.key, marker=METADATA)
    except FileExistsError:
        if check_part(part) is None:
            renew(part)
            return
        part.files.remove(part.key)
        part.files.place(folder, part.key, marker=METADATA)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _read_arrays(part: Part, names: Sequence[str], first: int = 0, stop: int | None = None) -> Arrays:
    """Rows [first, stop) of the arrays `names`, all of them by default."""
    group = _open(part)
    try:
        with _reach(part):
            return {name: np.asarray(_array(group, name)[first:stop]) for name in names}
    except _UnreachableError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StoreError(f"{part} is damaged ({error}); `timbrel repair` has its clips made again") from error


def _attributes(part: Part) -> Mapping[str, Any]:
    return _open(part).attrs.asdict()


def _open(part: Part) -> zarr.Group:
    try:
        with _reach(part):
            return zarr.open_group(part.files.zarr_store(part.key), mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{part} is missing or is no Zarr group; `timbrel extract` makes its clips again") from error


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array, all of its files present: Zarr itself would read a lost one as zeros."""
    array = group[name]
    if not isinstance(array, zarr.Array) or array.nchunks_initialized < array.nchunks:
        raise KeyError(f"a file of array {name} is missing")
    return array
