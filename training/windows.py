"""From clips to the tokens a model sees: windows on time, and which frames of each stream lie in them.

Streams are aligned by time and never by index. A window is a span of milliseconds; each stream brings the frames that
describe it, on its own grid, padded to a count that depends on the grid and the window's length alone. Frames stay in
memory as they are stored (a salience byte is a byte) and become floats one batch at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.timebase import FrameGrid, Span

TICK_RATE_HZ = 1_000
"""Windows are cut in milliseconds: the 25 ms grid and every usual sample rate meet there."""

TAIL_SHARE = 0.1
"""What is left behind the last window gets one of its own, flush with the clip's end, if longer than this share."""


@dataclass(frozen=True)
class Window:
    """One span of one clip: `clip` is its index, `span` in milliseconds."""

    clip: int
    span: Span


NOT_HELD = -1
"""Where a clip starts whose frames are left in the store for now."""


@dataclass(frozen=True)
class StreamFrames:
    """One stream of many clips, or of as many of them as are in memory.

    Clip i has the frames [starts[i], starts[i] + lengths[i]) of every array. A clip that is not held starts at
    `NOT_HELD`; one that has none of this stream has the length 0.
    """

    spec: StreamSpec
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    arrays: Arrays

    @classmethod
    def end_to_end(cls, spec: StreamSpec, lengths: NDArray[np.int64], arrays: Arrays) -> "StreamFrames":
        """Clips that lie one after the other, `lengths` frames each."""
        return cls(spec, np.cumsum(lengths) - lengths, lengths, arrays)

    @classmethod
    def of_clip(cls, spec: StreamSpec, arrays: Mapping[str, NDArray[np.generic]]) -> "StreamFrames":
        """The frames of one clip. Raises InputError where they are not what `spec` describes."""
        lengths = {name: len(values) for name, values in arrays.items()}
        n_frames = next(iter(lengths.values()), 0)
        if set(arrays) != {array.name for array in spec.arrays} or set(lengths.values()) != {n_frames} or not n_frames:
            raise InputError(f"stream {spec.stream} came with arrays {lengths}, which its description does not allow")
        for array in spec.arrays:
            found = arrays[array.name]
            if found.shape != (n_frames, *array.shape) or found.dtype != np.dtype(array.dtype):
                raise InputError(
                    f"stream {spec.stream}, array {array.name}: {found.dtype} {found.shape} came, where its spec "
                    f"has {array.dtype} {(n_frames, *array.shape)}"
                )
        return cls.end_to_end(spec, np.array([n_frames], np.int64), dict(arrays))

    @property
    def n_clips(self) -> int:
        return len(self.lengths)

    def rows(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """The frames of all of `clips`, as indices into the arrays."""
        starts, lengths = self.held(clips), self.lengths[clips]
        firsts = np.cumsum(lengths) - lengths  # where each clip's frames begin in the result
        return np.repeat(starts - firsts, lengths) + np.arange(lengths.sum())

    def held(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where `clips` start; a caller that asks for frames it did not load has a bug."""
        starts = self.starts[clips]
        if (starts == NOT_HELD).any():
            raise AssertionError(f"{np.sum(starts == NOT_HELD)} clips of stream {self.spec.stream} were not loaded")
        return starts


@dataclass(frozen=True)
class Tokens:
    """Which frames a stream shows in each window.

    rows: (n_windows, n_tokens) int64 indices into the stream's arrays; where padded, any frame.
    mask: (n_windows, n_tokens) bool, False where padded; at least one is True unless the clip lacks the stream.
    times_s: (n_windows, n_tokens) float32, what the frame describes, in seconds after the window's start.
    """

    rows: NDArray[np.int64]
    mask: NDArray[np.bool_]
    times_s: NDArray[np.float32]


def clip_ticks(duration_s: float) -> int:
    """The length of a clip in milliseconds, at least one."""
    return max(1, round(duration_s * TICK_RATE_HZ))


def windows_of(clip: int, n_ticks: int, length: int, hop: int) -> list[Window]:
    """The windows a clip of `n_ticks` is scored by; `length` and `hop` in milliseconds.

    They start every `hop` as long as they fit; a tail longer than `TAIL_SHARE` of a window gets one more that ends
    with the clip. A clip shorter than a window gets one window that is partly padding.
    """
    starts = list(range(0, max(1, n_ticks - length + 1), hop))
    if n_ticks - (starts[-1] + length) > TAIL_SHARE * length:
        starts.append(n_ticks - length)
    return [Window(clip, Span(start, start + length)) for start in starts]


def random_windows(
    clips: NDArray[np.int64], ticks: NDArray[np.int64], length: int, generator: np.random.Generator
) -> list[Window]:
    """One window a clip at a random place inside it, every millisecond equally likely; `ticks` are clip lengths."""
    slack = np.maximum(ticks - length, 0)
    starts = generator.integers(0, slack + 1)
    return [
        Window(clip, Span(start, start + length)) for clip, start in zip(clips.tolist(), starts.tolist(), strict=True)
    ]


def tokens_per_window(grid: FrameGrid, length: int) -> int:
    """The largest number of frames of `grid` that any window of `length` milliseconds can hold."""
    scaled = length * grid.sample_rate_hz
    whole = -(-scaled // (TICK_RATE_HZ * grid.hop))
    return whole + 1  # a span rounded to samples, or one that starts inside a block, touches one more


def cut_tokens(frames: StreamFrames, windows: Sequence[Window]) -> Tokens:
    """The frames of the stream in each window; all windows have the same length."""
    grid = frames.spec.grid
    clips = np.array([window.clip for window in windows], np.int64)
    starts = np.array([window.span.start for window in windows], np.int64)
    length = len(windows[0].span)
    n_tokens = tokens_per_window(grid, length)
    rate_hz = grid.sample_rate_hz
    first, stop = grid.frames_in_each(
        starts * rate_hz // TICK_RATE_HZ, (starts + length) * rate_hz // TICK_RATE_HZ, frames.lengths[clips]
    )
    place = np.arange(n_tokens)
    mask = place < (stop - first)[:, None]
    rows = (frames.held(clips) + first)[:, None] + np.where(mask, place, 0)
    rows[frames.lengths[clips] == 0] = 0
    step_s = grid.hop / rate_hz
    first_s = grid.centre_s(0) + first * step_s - starts / TICK_RATE_HZ
    return Tokens(rows, mask, np.add.outer(first_s, place * step_s).astype(np.float32))
