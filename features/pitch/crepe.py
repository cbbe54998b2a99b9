"""The pitch extractor: clips in, salience, f0 and periodicity out, by the published CREPE network.

The frames of all clips of a batch are laid end to end and worked through a fixed number at a time, so that short clips
do not leave the machine half empty and a long one needs no more memory than its results.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import centred_frames
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

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        """One clip's arrays a waveform at 16 kHz, as `pitch_spec` describes them."""
        lengths = [self.spec.grid.n_frames(len(waveform)) for waveform in waveforms]
        arrays: Arrays = {array.name: np.empty((sum(lengths), *array.shape), array.dtype) for array in self.spec.arrays}
        first = 0
        for frames in _packed_frames(waveforms, self.spec.grid):
            stop = min(first + len(frames), sum(lengths))
            salience = self.salience(frames)[: stop - first]
            arrays["salience"][first:stop] = np.rint(255 * salience)
            arrays["f0_hz"][first:stop] = self._decode(salience)
            arrays["periodicity"][first:stop] = periodicity(salience)
            first = stop
        stops = np.cumsum(lengths)
        return [
            {name: values[stop - length : stop] for name, values in arrays.items()}
            for length, stop in zip(lengths, stops, strict=True)
        ]

    def salience(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The salience (n, 360) float32 in [0, 1] of frames (n, 1024) as cut from the waveform."""
        with torch.inference_mode():
            found: NDArray[np.float32] = network.salience(
                self._network, network.normalise(torch.from_numpy(frames))
            ).numpy()
        return found


def _packed_frames(waveforms: Sequence[Waveform], grid: FrameGrid) -> Iterator[NDArray[np.float32]]:
    """All frames of all clips in order, (FRAMES_PER_BATCH, 1024) at a time; silence fills up the last."""
    batch = np.zeros((FRAMES_PER_BATCH, FRAME_LENGTH), np.float32)
    n_filled = 0
    for waveform in waveforms:
        first, n_frames = 0, grid.n_frames(len(waveform))
        while first < n_frames:
            stop = min(n_frames, first + FRAMES_PER_BATCH - n_filled)
            batch[n_filled : n_filled + stop - first] = centred_frames(waveform, grid, FRAME_LENGTH, first, stop)
            n_filled, first = n_filled + stop - first, stop
            if n_filled == FRAMES_PER_BATCH:
                yield batch
                batch, n_filled = np.zeros_like(batch), 0
    if n_filled:
        yield batch
