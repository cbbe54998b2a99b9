"""The pitch extractor: clips in, salience, f0 and periodicity out, by the published CREPE network.

The frames of all clips of a batch are laid end to end and worked through a fixed number at a time, so that short clips
do not leave the machine half empty and a long one needs no more memory than its results. Frames of digital silence,
which padded recordings are full of, are not among them: what the network says of silence is found out once.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import centred_frames, frame_blocks
from features.pitch import network
from features.pitch.decoding import decode_argmax, decode_local_average, periodicity
from features.pitch.network import FRAME_LENGTH, FRAMES_PER_BATCH
from features.weights import weight_path
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.timebase import FrameGrid

_DECODERS = {"local_average": decode_local_average, "argmax": decode_argmax}


class CrepePitch:
    """CREPE with the weights and the decoder that `spec` names; see `pitch_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._decode = _DECODERS[str(spec.parameters["decoder"])]
        path = weight_path(f"crepe-{spec.parameters['model']}")
        self._network = network.build_network(torch.load(path, map_location="cpu", weights_only=True))

    @property
    def reach(self) -> int:
        return FRAME_LENGTH // 2

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        """One clip's arrays a waveform at 16 kHz, as `pitch_spec` describes them."""
        lengths = [self.spec.grid.n_frames(len(waveform)) for waveform in waveforms]
        arrays: Arrays = {
            name: np.repeat(values, sum(lengths), axis=0) for name, values in self._read(self._of_silence).items()
        }
        for rows, frames in _packed_frames(waveforms, self.spec.grid):
            for name, values in self._read(self.salience(frames)[: len(rows)]).items():
                arrays[name][rows] = values
        stops = np.cumsum(lengths)
        return [
            {name: values[stop - length : stop] for name, values in arrays.items()}
            for length, stop in zip(lengths, stops, strict=True)
        ]

    @cached_property
    def _of_silence(self) -> NDArray[np.float32]:
        """What the network says of it, (1, 360)."""
        return self.salience(np.zeros((FRAMES_PER_BATCH, FRAME_LENGTH), np.float32))[:1]

    def _read(self, salience: NDArray[np.float32]) -> Arrays:
        """The arrays that are stored of a salience (n, 360)."""
        return {
            "salience": np.rint(255 * salience).astype(np.uint8),
            "f0_hz": self._decode(salience),
            "periodicity": periodicity(salience),
        }

    def salience(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The salience (n, 360) float32 in [0, 1] of frames (n, 1024) as cut from the waveform."""
        with torch.inference_mode():
            found: NDArray[np.float32] = network.salience(
                self._network, network.normalise(torch.from_numpy(frames))
            ).numpy()
        return found


def _packed_frames(
    waveforms: Sequence[Waveform], grid: FrameGrid
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The frames of all clips that are not silent, (FRAMES_PER_BATCH, 1024) at a time, and which they are of all.

    There are fewer indices than frames in the last batch, which is filled up with silence.
    """
    batch, rows = np.zeros((FRAMES_PER_BATCH, FRAME_LENGTH), np.float32), np.empty(FRAMES_PER_BATCH, np.int64)
    n_filled, n_before = 0, 0
    for waveform in waveforms:
        n_frames = grid.n_frames(len(waveform))
        for first, stop in frame_blocks(n_frames, FRAMES_PER_BATCH):
            frames = centred_frames(waveform, grid, FRAME_LENGTH, first, stop)
            for i in np.flatnonzero(frames.any(axis=1)):
                batch[n_filled], rows[n_filled] = frames[i], n_before + first + i
                n_filled += 1
                if n_filled == FRAMES_PER_BATCH:
                    yield rows, batch
                    batch, rows, n_filled = np.zeros_like(batch), rows.copy(), 0
        n_before += n_frames
    if n_filled:
        yield rows[:n_filled], batch
