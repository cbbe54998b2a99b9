"""From the store to frames in memory, all at once or a bounded chunk at a time.

Streams that fit the limit are read once and kept. Those that do not are read in chunks, the next one ahead in a
thread: as they lie in the store for scoring; for an epoch of training, groups of neighbours in the store are drawn in
a random order, as many as fill a chunk, and the clips of a chunk are shuffled. So every clip is shown once an epoch,
and which clips meet in a batch depends on the limit. Clips have one numbering, whatever is in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage_schema.reader import READ_BYTES, StreamReader
from storage_schema.streams import StreamSpec
from training.clock import Clock
from training.inputs import refuse_not_finite, used_arrays
from training.windows import NOT_HELD, StreamFrames

Clips = NDArray[np.int64]

CHUNK_SHARE = 4
"""A chunk takes a quarter of the limit: one is used, one is read ahead, one may not be let go yet."""

READ_SHARE = 16
"""What reading needs beside its result, twice over: compressed and not."""

GROUPS_A_CHUNK = 16
"""Neighbours in the store that stay together in an epoch take at most this share of a chunk."""


@dataclass(frozen=True)
class FrameSource:
    """One stream of the clips `clip_ids`, still in the store. Clips are indices into `clip_ids` and their `uris`."""

    reader: StreamReader
    clip_ids: tuple[str, ...]
    uris: tuple[str, ...]

    @property
    def spec(self) -> StreamSpec:
        return self.reader.spec

    @cached_property
    def n_frames(self) -> NDArray[np.int64]:
        """(n_clips,) frames of each clip by the catalogue, 0 where it has none of this stream; nothing is read."""
        there = self.reader.locations
        return np.array([there[name].n_rows if name in there else 0 for name in self.clip_ids], np.int64)

    @cached_property
    def n_bytes(self) -> NDArray[np.int64]:
        """(n_clips,) what each clip takes in memory, of the arrays that a model is fed."""
        return self.n_frames * sum(self.spec.array(name).frame_bytes for name in used_arrays(self.spec))

    def by_part(self, clips: Clips) -> list[Clips]:
        """`clips` as they lie in the store, part by part; those that lack the stream come last, together."""
        there = self.reader.locations
        parts: dict[str, list[tuple[int, int]]] = {}
        for clip in clips.tolist():
            place = there.get(self.clip_ids[clip])
            part_id, row = (place.part_id, place.first_row) if place else ("", 0)
            parts.setdefault(part_id, []).append((row, clip))
        ordered = sorted(parts, key=lambda part_id: (not part_id, part_id))
        return [np.array([clip for _, clip in sorted(parts[part_id])], np.int64) for part_id in ordered]

    def load(self, clips: Clips, read_bytes: int = READ_BYTES) -> StreamFrames:
        """The frames of `clips` and of no others. Raises StoreError where they are damaged or no numbers."""
        there = self.reader.locations
        held = np.array([clip for clip in clips.tolist() if self.clip_ids[clip] in there], np.int64)
        ragged = self.reader.read_all(
            [self.clip_ids[clip] for clip in held.tolist()], arrays=used_arrays(self.spec), read_bytes=read_bytes
        )
        starts = np.full(len(self.clip_ids), NOT_HELD, np.int64)
        lengths = np.zeros(len(self.clip_ids), np.int64)
        starts[clips] = 0  # of those that lack the stream
        starts[held], lengths[held] = ragged.offsets[:-1], ragged.n_frames
        frames = StreamFrames(self.spec, starts, lengths, ragged.arrays)
        refuse_not_finite(frames, self.uris)
        return frames


@dataclass(frozen=True)
class Chunk:
    """Some clips, in the order in which they are to be looked at, and the frames of the streams asked for."""

    clips: Clips
    frames: Mapping[str, StreamFrames]


@dataclass
class Loader:
    """Gives out the frames of `sources` with at most `limit_bytes` of them in memory at any time.

    A single clip that is longer than a chunk is read whole all the same. `has_streamed` says whether the limit was
    ever in the way of reading everything at once: only then does it change a figure. `clock` counts the time that
    somebody waited for frames as "reading".
    """

    sources: Mapping[str, FrameSource]
    limit_bytes: int
    has_streamed: bool = False
    clock: Clock = field(default_factory=Clock)
    _held: dict[str, StreamFrames] = field(default_factory=dict)

    @property
    def specs(self) -> dict[str, StreamSpec]:
        return {stream: source.spec for stream, source in self.sources.items()}

    def fits(self, streams: Iterable[str]) -> bool:
        """Whether all clips of `streams` may be in memory at once."""
        return float(self._bytes(streams).sum()) + 2 * self._read_bytes <= self.limit_bytes

    def plan(self, streams: Sequence[str], clips: Clips) -> list[Clips]:
        """`clips`, cut into what is to be in memory at a time, in their own order where that is everything.

        Otherwise as they lie in the store. Nothing is read yet.
        """
        if not len(clips) or self.fits(streams):
            return [clips]
        return self._cut([np.concatenate(self._by_part(streams, clips))], streams, self._chunk_bytes)

    def shuffled(self, streams: Sequence[str], clips: Clips, generator: np.random.Generator) -> list[Clips]:
        """`clips` in a new random order, cut into what is to be in memory at a time; nothing is read yet."""
        if self.fits(streams):
            return [generator.permutation(clips)]
        groups = self._cut(self._by_part(streams, clips), streams, self._chunk_bytes / GROUPS_A_CHUNK)
        drawn = np.concatenate([groups[i] for i in generator.permutation(len(groups)).tolist()])
        return [generator.permutation(chunk) for chunk in self._cut([drawn], streams, self._chunk_bytes)]

    def read(self, streams: Sequence[str], plan: Iterable[Clips]) -> Iterator[Chunk]:
        """The clips of each part of a plan with their frames, the next part of it read ahead."""
        if self.fits(streams):
            frames = self.hold(streams)
            for clips in plan:
                yield Chunk(clips, frames)
            return
        self.has_streamed = True
        self._held.clear()
        with ThreadPoolExecutor(1, "read-ahead") as ahead:
            coming: list[Future[Chunk]] = []
            for clips in plan:
                coming.append(ahead.submit(self._load, streams, clips))
                if len(coming) == 2:
                    yield self._wait_for(coming.pop(0))
            for last in coming:
                yield self._wait_for(last)

    def each(
        self, streams: Sequence[str], clips: Clips, ask: Callable[[Chunk], Mapping[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        """What `ask` says of `clips`, chunk by chunk, put together again.

        ask: gives arrays (n_clips of the chunk, ...) under the same names for every chunk. Returns each of them as
        (n_clips, ...) in the order of `clips`.
        """
        place = {clip: i for i, clip in enumerate(clips.tolist())}
        result: dict[str, NDArray[Any]] = {}
        for chunk in self.read(streams, self.plan(streams, clips)):
            places = [place[clip] for clip in chunk.clips.tolist()]
            for name, values in ask(chunk).items():
                if name not in result:
                    result[name] = np.empty((len(clips), *values.shape[1:]), values.dtype)
                result[name][places] = values
        return result

    def hold(self, streams: Sequence[str]) -> dict[str, StreamFrames]:
        """The streams whole, whatever the limit; read where they are not in memory yet, the same objects afterwards.

        Others are let go where there is not room for all.
        """
        for stream in streams:
            if stream not in self._held:
                others = [name for name in self._held if name not in streams]
                while others and not self.fits([*self._held, stream]):
                    del self._held[others.pop(0)]
                source = self.sources[stream]
                with self.clock.during("reading"):
                    self._held[stream] = source.load(np.arange(len(source.clip_ids)), self._read_bytes)
        return {stream: self._held[stream] for stream in streams}

    @property
    def _chunk_bytes(self) -> float:
        return self.limit_bytes / CHUNK_SHARE

    def _wait_for(self, coming: "Future[Chunk]") -> Chunk:
        with self.clock.during("reading"):
            return coming.result()

    def _load(self, streams: Sequence[str], clips: Clips) -> Chunk:
        return Chunk(clips, {name: self.sources[name].load(clips, self._read_bytes) for name in streams})

    @property
    def _read_bytes(self) -> int:
        return min(READ_BYTES, self.limit_bytes // READ_SHARE)

    def _bytes(self, streams: Iterable[str]) -> NDArray[np.int64]:
        """(n_clips,) what the streams of each clip take in memory."""
        sizes: NDArray[np.int64] = np.sum([self.sources[stream].n_bytes for stream in streams], axis=0)
        return sizes

    def _by_part(self, streams: Sequence[str], clips: Clips) -> list[Clips]:
        """`clips` as the largest of the streams has them in the store."""
        largest = max(streams, key=lambda stream: int(self.sources[stream].n_bytes.sum()))
        return self.sources[largest].by_part(clips)

    def _cut(self, runs: Iterable[Clips], streams: Sequence[str], n_bytes: float) -> list[Clips]:
        """Each run of clips in pieces of at most `n_bytes`, or of one clip that is longer."""
        sizes = self._bytes(streams)
        pieces = []
        for clips in runs:
            start, filled = 0, 0
            for i, size in enumerate(sizes[clips].tolist()):
                if i > start and filled + size > n_bytes:
                    pieces.append(clips[start:i])
                    start, filled = i, 0
                filled += size
            pieces.append(clips[start:])
        return pieces
