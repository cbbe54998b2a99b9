"""The only arithmetic between samples, frames and seconds.

Positions are integers of samples, spans are half-open, and nothing here rounds through floating point: two streams
of different rates are compared in integers, so that a frame never moves by one because of a rounding.

Two kinds of grid exist. On a *centred* grid frame i is centred on sample i * hop and a clip of n samples has
1 + n // hop frames, its ends zero-padded (the convention of librosa and CREPE). On a *blocks* grid, the native one of
pretrained models, frame i describes the samples [i * hop, (i + 1) * hop), and the last block may be partly padding.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError

Alignment = Literal["centred", "blocks"]

TOKEN_RATE_HZ = 40
"""The shared grid: 25 ms, as in arXiv 2309.08751."""


@dataclass(frozen=True)
class Span:
    """The samples from `start` up to, but not including, `stop`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.stop < self.start:
            raise InputError(f"a span runs forward from a sample >= 0, but this one is [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    def at_rate(self, own_rate_hz: int, other_rate_hz: int) -> "Span":
        """The same time in samples of another rate; each end is rounded down, so that adjacent spans stay adjacent."""
        return Span(self.start * other_rate_hz // own_rate_hz, self.stop * other_rate_hz // own_rate_hz)


@dataclass(frozen=True)
class FrameGrid:
    """Where the frames of a stream lie: `sample_rate_hz` in Hz, `hop` in samples of that rate."""

    sample_rate_hz: int
    hop: int
    alignment: Alignment = "centred"

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "hop"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.alignment not in ("centred", "blocks"):
            raise InputError(f"alignment is 'centred' or 'blocks', not {self.alignment!r}")

    @classmethod
    def from_seconds(cls, sample_rate_hz: int, hop_s: float, alignment: Alignment = "centred") -> "FrameGrid":
        """The grid with a hop given in seconds; InputError where that is no whole number of samples."""
        hop = round(sample_rate_hz * hop_s)
        if hop < 1 or abs(hop - sample_rate_hz * hop_s) > 1e-6:
            raise InputError(
                f"a hop of {hop_s} s is {sample_rate_hz * hop_s:g} samples at {sample_rate_hz} Hz; "
                "choose one that is a whole number of samples"
            )
        return cls(sample_rate_hz, hop, alignment)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    def n_frames(self, n_samples: int) -> int:
        """How many frames a clip of `n_samples` samples at this grid's rate has; at least one."""
        if n_samples < 1:
            raise InputError(f"a clip has at least one sample, not {n_samples}")
        return 1 + n_samples // self.hop if self.alignment == "centred" else -(-n_samples // self.hop)

    def centre_s(self, frame: int) -> float:
        """The time in seconds that frame `frame` describes."""
        offset = self.hop / 2 if self.alignment == "blocks" else 0.0
        return (frame * self.hop + offset) / self.sample_rate_hz

    def frames_in(self, span: Span, n_frames: int) -> range:
        """The frames of an `n_frames` long clip that describe `span`, given in samples of this grid's rate.

        Centred: those whose centre lies inside, or the nearest one where none does. Blocks: those that overlap it.
        Never empty: past the end of the clip it is the last frame, as a hold.
        """
        ends = (np.array([value], np.int64) for value in (span.start, span.stop, n_frames))
        first, stop = self.frames_in_each(*ends)
        return range(int(first[0]), int(stop[0]))

    def frames_in_each(
        self, starts: NDArray[np.int64], stops: NDArray[np.int64], n_frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`frames_in` of many spans at once: the first frame of each and the one after its last.

        starts, stops: each (n,) in samples of this grid's rate. n_frames: (n,) frames of the clip each span lies in;
        a clip without any has the frames [0, 0).
        """
        if self.alignment == "centred":
            first, stop = -(-starts // self.hop), -(-stops // self.hop)
            nearest = (starts + stops + self.hop) // (2 * self.hop)  # to the middle, half a hop rounding up
            first = np.where(stop <= first, nearest, first)  # where no centre lies inside
        else:
            first, stop = starts // self.hop, -(-stops // self.hop)
        first = np.maximum(np.minimum(first, n_frames - 1), 0)
        return first, np.minimum(np.maximum(first + 1, stop), n_frames)
