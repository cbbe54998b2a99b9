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


@dataclass(frozen=True)
class StreamFrames:
    """One stream of many clips: clip i has the frames [offsets[i], offsets[i + 1]) of every array."""

    spec: StreamSpec
    offsets: NDArray[np.int64]
    arrays: Arrays

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
        return cls(spec, np.array([0, n_frames], np.int64), dict(arrays))

    @property
    def n_clips(self) -> int:
        return len(self.offsets) - 1

    def rows(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """The frames of all of `clips`, as indices into the arrays."""
        spans = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in clips.tolist()]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Tokens:
    """Which frames a stream shows in each window.

    rows: (n_windows, n_tokens) int64 indices into the stream's arrays; where padded, any frame of the same clip.
    mask: (n_windows, n_tokens) bool, False where padded; every window has at least one True.
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
    n_tokens = tokens_per_window(grid, len(windows[0].span))
    rows = np.empty((len(windows), n_tokens), np.int64)
    mask = np.zeros((len(windows), n_tokens), bool)
    first = np.empty((len(windows), 1), np.int64)
    starts_s = np.empty((len(windows), 1), np.float64)
    for i, window in enumerate(windows):
        offset = int(frames.offsets[window.clip])
        found = grid.frames_in(
            window.span.at_rate(TICK_RATE_HZ, grid.sample_rate_hz), int(frames.offsets[window.clip + 1]) - offset
        )
        rows[i] = offset + found.start
        rows[i, : len(found)] = np.arange(offset + found.start, offset + found.stop)
        mask[i, : len(found)] = True
        first[i], starts_s[i] = found.start, window.span.start / TICK_RATE_HZ
    step_s = grid.hop / grid.sample_rate_hz
    times_s = grid.centre_s(0) + (first + np.arange(n_tokens)) * step_s - starts_s
    return Tokens(rows, mask, times_s.astype(np.float32))
