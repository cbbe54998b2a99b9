"""The log-mel spectrogram that aiSFX was trained on, in NumPy; equal to the published one of Essentia to 1e-5.

What Essentia does, found by comparing: frames of 2,048 samples, centred on multiples of 1,024, under a symmetric Hann
window that is not normalised; the power spectrum; 96 triangles that are straight lines over HTK's mel scale and each
sum to one over the FFT bins; log10(10000 x + 1); and the division by the largest value of the authors' training set.
Its loader cuts samples beyond full scale, so that is part of the front end too.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from features.neural.spec import SAMPLE_RATE_HZ, SPECTRUM_HOP

FRAME_LENGTH = 2_048
N_MELS = 96
LARGEST_TRAINING_VALUE = 9.457798957824707
"""The divisor in aisfx 0.1.2, `spectrogram_normalize`."""


def log_mel_frames(waveform: Waveform, first: int, n_frames: int) -> NDArray[np.float32]:
    """Frames [first, first + n_frames) of the spectrogram, (n_frames, 96) float32 in [0, 1.1].

    Frame i holds the samples [1024 (i - 1), 1024 (i + 1)), silence where the clip has none. A frame past the end of
    the clip is all zeros, as the published padding has it, since the logarithm maps silence to zero.
    """
    start = (first - 1) * SPECTRUM_HOP
    n_samples = (n_frames - 1) * SPECTRUM_HOP + FRAME_LENGTH
    padded = np.zeros(n_samples, dtype=np.float32)
    inside = waveform[max(0, start) : max(0, start + n_samples)]
    lead = max(0, -start)
    padded[lead : lead + len(inside)] = np.clip(inside, -1.0, 1.0)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_LENGTH)[::SPECTRUM_HOP]  # (n_frames, 2048)
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2  # (n_frames, 1025)
    log_mel = np.log10(power @ mel_filters() * np.float32(1e4) + np.float32(1))
    return np.asarray(log_mel / np.float32(LARGEST_TRAINING_VALUE), dtype=np.float32)


@cache
def mel_filters() -> NDArray[np.float32]:
    """The 96 triangles from 0 Hz to the Nyquist frequency, (1025, 96) float32, every column summing to one.

    Source: HTK's mel scale, 1127 ln(1 + f / 700); Essentia's `weighting=warping`, `normalize=unit_sum`.
    """
    nyquist_hz = SAMPLE_RATE_HZ / 2
    bins_mel = _hz_to_mel(np.linspace(0, nyquist_hz, FRAME_LENGTH // 2 + 1))[:, np.newaxis]
    corners_mel = np.linspace(0, _hz_to_mel(np.array(nyquist_hz)), N_MELS + 2)
    step_mel = corners_mel[1]
    rising = (bins_mel - corners_mel[:-2]) / step_mel
    falling = (corners_mel[2:] - bins_mel) / step_mel
    weights = np.maximum(0, np.minimum(rising, falling))  # (1025, 96)
    filters: NDArray[np.float32] = (weights / weights.sum(axis=0)).astype(np.float32)
    filters.flags.writeable = False
    return filters


@cache
def _window() -> NDArray[np.float32]:
    window: NDArray[np.float32] = np.hanning(FRAME_LENGTH).astype(np.float32)
    window.flags.writeable = False
    return window


def _hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(frequency_hz / 700))
