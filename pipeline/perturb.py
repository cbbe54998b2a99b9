"""Damage done to a recording on purpose, to learn what a model still hears: noise, gain, a low-pass, a lossy codec.

Pure functions of a mono waveform, float32 at one rate, that keep its length and its place in time. What is drawn is
drawn from a generator seeded by the clip and the condition, so that a clip is always damaged in the same way.
"""

import io
from hashlib import blake2b

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

Waveform = NDArray[np.float32]

LOW_PASS_ORDER = 8
"""Run forwards and backwards: half the amplitude at the cut-off, and below a hundredth from 1.4 times that on."""

_BLOCK = 65_536
"""Samples handed to the Vorbis encoder at a time; libsndfile 1.2.2 runs out of stack where minutes come at once."""

MAX_VORBIS_RATE_HZ = 200_000
"""Of libvorbis; libsndfile 1.2.2 takes the process down at a higher one instead of refusing it."""


def generator_of(clip_id: str, condition: str) -> np.random.Generator:
    """The generator of all that is drawn to damage one clip under one condition, such as `"white noise, 10 dB"`."""
    return np.random.default_rng(int.from_bytes(blake2b(f"{clip_id}\n{condition}".encode(), digest_size=16).digest()))


def add_white_noise(waveform: Waveform, snr_db: float, generator: np.random.Generator) -> Waveform:
    """`waveform` with Gaussian noise, `snr_db` below it in mean power over the clip."""
    return add_noise(waveform, generator.standard_normal(len(waveform)).astype(np.float32), snr_db)


def add_noise(waveform: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """`waveform` with `noise`, cut or repeated to its length, `snr_db` below it in mean power over the clip.

    Nothing is clipped. A silent waveform stays silent, as noise below it would be. Raises ValueError for silent noise.
    """
    fitted = np.resize(noise, len(waveform)).astype(np.float64)
    noise_power = float(np.mean(np.square(fitted)))
    if noise_power == 0:
        raise ValueError("the noise is silent, so that no level of it gives the ratio asked for; choose another")
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    scale = np.sqrt(power / noise_power / 10 ** (snr_db / 10))
    noisy: Waveform = (waveform + scale * fitted).astype(np.float32)
    return noisy


def apply_gain(waveform: Waveform, gain_db: float) -> Waveform:
    """`waveform` louder or softer, clipped to [-1, 1] as a converter of fixed range does."""
    louder: Waveform = np.clip(waveform * 10 ** (gain_db / 20), -1, 1).astype(np.float32)
    return louder


def low_pass(waveform: Waveform, sample_rate_hz: int, cutoff_hz: float = 4_000) -> Waveform:
    """`waveform` without what lies above `cutoff_hz`: a Butterworth filter run both ways, so that nothing is delayed.

    Comes back as it is where the rate holds nothing above the cut-off.
    """
    if 2 * cutoff_hz >= sample_rate_hz:
        return waveform
    sections = signal.butter(LOW_PASS_ORDER, cutoff_hz, fs=sample_rate_hz, output="sos")
    n_padding = min(3 * (2 * len(sections) + 1), len(waveform) - 1)  # SciPy's own, or as much as a short clip has
    filtered: Waveform = signal.sosfiltfilt(sections, waveform, padlen=n_padding).astype(np.float32)
    return filtered


def through_vorbis(waveform: Waveform, sample_rate_hz: int, compression: float = 1.0) -> Waveform:
    """`waveform` encoded as Ogg Vorbis and decoded again.

    compression: 0 for the best quality, 1 for the lowest bit rate, about 50 kbit/s of mono at 44.1 kHz. Samples beyond
    [-1, 1] are clipped. Raises ValueError for a rate beyond `MAX_VORBIS_RATE_HZ`.
    """
    if sample_rate_hz > MAX_VORBIS_RATE_HZ:
        raise ValueError(f"Vorbis takes audio up to {MAX_VORBIS_RATE_HZ:,} Hz, and this is at {sample_rate_hz:,} Hz")
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", sample_rate_hz, 1, "VORBIS", format="OGG", compression_level=compression
    ) as encoder:
        for start in range(0, len(waveform), _BLOCK):
            encoder.write(np.clip(waveform[start : start + _BLOCK], -1, 1))
    file.seek(0)
    decoded, _ = soundfile.read(file, frames=len(waveform), dtype="float32")
    whole = np.zeros(len(waveform), np.float32)
    whole[: len(decoded)] = decoded
    return whole
