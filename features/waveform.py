"""The waveform stream: the clip itself, cut into frames, for the branch that learns from samples end to end.

Frames are blocks that follow each other, not centred ones, so that every sample of the clip is in exactly one frame and
a window of whole frames is a window of exact samples. (Frames of one hop centred at i * hop would start half a hop
before the clip and lose up to half a hop of its end.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import frame_blocks
from storage_schema.streams import Arrays, ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

SAMPLE_RATE_HZ = 16_000
"""As in arXiv 2309.08751."""

FULL_SCALE = 32_767
"""The stored value of a sample of 1.0; -1.0 is its negative, so that silence, 0, is in the middle."""

_FRAMES_AT_A_TIME = 4_096  # bounds the scratch memory to some 10 MB


def waveform_spec(hop: int = 400) -> StreamSpec:
    """The spec of the samples themselves, `hop` samples at 16 kHz a frame.

    Raises InputError for a hop that is no whole number of at least 1.
    """
    return StreamSpec(
        stream="waveform",
        extractor="waveform",
        version=1,
        grid=FrameGrid(SAMPLE_RATE_HZ, hop, "blocks"),
        arrays=(
            ArraySpec(
                name="samples",
                dtype="int16",
                unit="1",
                description="samples [i * hop, (i + 1) * hop), clipped at full scale, 1; zeros beyond the clip's end",
                shape=(hop,),
                scale=1 / FULL_SCALE,
            ),
        ),
        parameters={"hop": hop},
    )


class WaveformFrames:
    """Samples as 16-bit integers, laid out in frames; see `waveform_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec

    @property
    def reach(self) -> int:
        return self.spec.grid.hop

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        """One clip's frames a waveform at 16 kHz, as `waveform_spec` describes them."""
        return [{"samples": _frames(waveform, self.spec.grid)} for waveform in waveforms]


def _frames(waveform: Waveform, grid: FrameGrid) -> NDArray[np.int16]:
    """(frame, hop) int16: round(32767 x), where a sample beyond full scale counts as full scale."""
    n_frames = grid.n_frames(len(waveform))
    frames = np.zeros(n_frames * grid.hop, np.int16)
    for first, stop in frame_blocks(n_frames, _FRAMES_AT_A_TIME):
        block = slice(first * grid.hop, min(stop * grid.hop, len(waveform)))
        frames[block] = np.rint(waveform[block].clip(-1.0, 1.0) * np.float32(FULL_SCALE))
    return frames.reshape(n_frames, grid.hop)
