"""Cutting a waveform into frames on a centred grid; all that is known here is where a frame's samples lie.

Frame i is centred on sample i * hop (librosa's and CREPE's convention), so the first and the last frames reach past
the ends of the clip and are filled with zeros there. Any run of frames can be cut on its own and is equal to the same
rows of all frames cut at once: a clip of ten hours is worked through in blocks, and its numbers do not show it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from storage_schema.errors import InputError
from storage_schema.timebase import FrameGrid


def centred_frames(
    waveform: Waveform, grid: FrameGrid, length: int, first: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """Frames [first, stop) of `waveform`, (stop - first, length) float32; all of them by default.

    Frame i holds the samples [i * hop - length // 2, i * hop - length // 2 + length), zero where the clip has none.
    The result is a copy: writing to it leaves the waveform alone.
    Raises InputError for a grid that is not centred, and where [first, stop) are not frames of this clip.
    """
    if grid.alignment != "centred":
        raise InputError(f"only a centred grid is cut into centred frames, and this one is {grid.alignment!r}")
    n_frames = grid.n_frames(len(waveform))
    stop = n_frames if stop is None else stop
    if not 0 <= first < stop <= n_frames or length < 1:
        raise InputError(
            f"frames [{first}, {stop}) of {length} samples were asked of a clip that has the frames [0, {n_frames}); "
            "ask for at least one of those, of at least one sample"
        )
    start = first * grid.hop - length // 2  # of the first frame's samples, negative where it reaches before the clip
    n_samples = (stop - 1 - first) * grid.hop + length
    padded = np.zeros(n_samples, dtype=np.float32)
    inside = waveform[max(0, start) : max(0, start + n_samples)]
    lead = max(0, -start)
    padded[lead : lead + len(inside)] = inside
    return np.lib.stride_tricks.sliding_window_view(padded, length)[:: grid.hop].copy()  # (stop - first, length)


def frame_blocks(n_frames: int, block: int) -> Iterator[tuple[int, int]]:
    """The frames [0, n_frames) as consecutive half-open blocks of at most `block` frames."""
    for first in range(0, n_frames, block):
        yield first, min(first + block, n_frames)
