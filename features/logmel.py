"""The log-mel stream: a spectrogram on the mel scale, in decibels, on the 25 ms grid; the baseline among the streams.

The mel filters are librosa's. Frames and transforms are worked out here, block by block, so that a clip of ten hours
needs no more memory than its result; tests hold the numbers to librosa's own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import centred_frames, frame_blocks
from storage_schema.errors import InputError
from storage_schema.streams import Arrays, ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

SAMPLE_RATE_HZ = 16_000

FRAME_LENGTH = 1024
"""Samples: 64 ms, the length of a CREPE frame, under a periodic Hann window."""

MOST_MELS = 128
"""With many more, the lowest filters are narrower than a step of the transform and stay empty."""

FLOOR_POWER = 1e-10
"""The power that counts as silence, -100 dB; librosa's choice."""

_FRAMES_AT_A_TIME = 512  # bounds the scratch memory to some 10 MB


def logmel_spec(hop: int = 400, n_mels: int = 64) -> StreamSpec:
    """The spec of the log-mel spectrogram: hop in samples at 16 kHz, and the number of mel bands from 0 to 8 kHz.

    Raises InputError for a hop that is no whole number of at least 1, and where `n_mels` is not in 1 to 128.
    """
    if isinstance(n_mels, bool) or not isinstance(n_mels, int) or not 1 <= n_mels <= MOST_MELS:
        raise InputError(f"n_mels of logmel is a whole number from 1 to {MOST_MELS}, not {n_mels!r}")
    return StreamSpec(
        stream="logmel",
        extractor="logmel",
        version=1,
        grid=FrameGrid(SAMPLE_RATE_HZ, hop),
        arrays=(
            ArraySpec(
                name="logmel",
                dtype="float16",
                unit="dB",
                description="power in each mel band (Slaney's scale and norm), at least -100 dB; 0 dB is a power of 1",
                shape=(n_mels,),
            ),
        ),
        parameters={"hop": hop, "n_mels": n_mels},
    )


class LogMel:
    """Log-mel frames with librosa's filters; see `logmel_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        from librosa import filters  # here, because importing it takes seconds that a spec must not cost

        self.spec = spec
        (n_mels,) = spec.array("logmel").shape
        self._window = np.hanning(FRAME_LENGTH + 1)[:-1].astype(np.float32)
        self._mel: NDArray[np.float32] = filters.mel(sr=SAMPLE_RATE_HZ, n_fft=FRAME_LENGTH, n_mels=n_mels).T

    @property
    def reach(self) -> int:
        return FRAME_LENGTH // 2

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        """One clip's spectrogram a waveform at 16 kHz, as `logmel_spec` describes it."""
        return [{"logmel": self._logmel(waveform)} for waveform in waveforms]

    def _logmel(self, waveform: Waveform) -> NDArray[np.float16]:
        n_frames = self.spec.grid.n_frames(len(waveform))
        logmel = np.empty((n_frames, self._mel.shape[1]), np.float16)
        for first, stop in frame_blocks(n_frames, _FRAMES_AT_A_TIME):
            frames = centred_frames(waveform, self.spec.grid, FRAME_LENGTH, first, stop)
            power = np.square(np.abs(np.fft.rfft(frames * self._window)))  # (frame, 513), float32
            logmel[first:stop] = 10.0 * np.log10(np.maximum(power @ self._mel, FLOOR_POWER))
        return logmel
