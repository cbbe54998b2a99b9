"""The descriptors that are sums over a spectrum or a frame: all frames of a block at once, in NumPy.

Essentia has an algorithm for each of them, with the same definition, and a call from Python costs more than the sum:
8 microseconds, of some 20 calls a frame. Tests hold every value to Essentia's own. Sums are made in float64, row by
row, so that a frame's numbers do not depend on the block it is in; a value is cut off only where Essentia cuts it off.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from features.timbre.descriptors import FLOOR_DB

Rows: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = dict[str, NDArray[np.float64]]
"""Descriptor name to one value a frame, (n,)."""

RATIO_LIMIT_DB = 60.0

_SALIENT_HZ = (100.0, 5_000.0)
"""Essentia's defaults for the distance of partials."""

_BARK_EDGES_HZ = (
    *(0, 50, 100, 150, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150),
    *(3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500, 20500),
)
"""Essentia's BarkBands: those of Zwicker, the first two halved."""


def describe_spectra(spectra: Rows, nyquist_hz: float) -> Columns:
    """Of magnitudes (n, bin) from 0 Hz to `nyquist_hz`, none of them silent: shape, distribution and Bark bands."""
    relative = spectra / spectra.max(axis=1, keepdims=True)  # in [0, 1], the same at any level
    levels_db = 20 * np.log10(np.maximum(relative, 10 ** (FLOOR_DB / 20)))
    bins_hz = np.linspace(0.0, nyquist_hz, spectra.shape[1])
    centroid_hz, variance, skewness, kurtosis = _moments(relative, bins_hz)
    energies = relative**2
    heard = np.cumsum(energies, axis=1)
    rolloff = (heard < 0.85 * heard[:, -1:]).sum(axis=1)  # the first bin that reaches the share
    deviation = bins_hz / 1000 - bins_hz.mean() / 1000
    return {
        "spectral_centroid": centroid_hz,
        "spectral_spread": np.sqrt(variance),
        "spectral_skewness": np.copysign(np.log10(1 + np.abs(skewness)), skewness),
        "spectral_kurtosis": np.log10(np.maximum(kurtosis, 1.0)),
        "spectral_rolloff": bins_hz[rolloff],
        "spectral_flatness": ratio_db(_flatness(relative)),
        "spectral_crest": 2 * ratio_db(relative.max(axis=1) / relative.mean(axis=1)),  # of magnitudes, hence twice
        "spectral_entropy": _entropy(relative),
        "spectral_decrease": (levels_db * deviation).sum(axis=1) / (deviation**2).sum(),
        "pitch_salience": _pitch_salience(relative, nyquist_hz),
        "hfc": energy_db((spectra**2 * bins_hz).sum(axis=1)),
        **_bark(spectra, nyquist_hz),
    }


def describe_frames(frames: Rows) -> Columns:
    """Of samples (n, sample), not windowed: zero crossings, loudness, level, and how peaked they are."""
    squares = frames**2
    power = squares.mean(axis=1)
    is_positive = frames > 0
    return {
        "zero_crossing_rate": (is_positive[:, 1:] != is_positive[:, :-1]).sum(axis=1) / frames.shape[1],
        "loudness": squares.sum(axis=1) ** 0.67,
        "rms": energy_db(power),
        "crest_factor": 10 * np.log10(squares.max(axis=1) / power),
        "amplitude_kurtosis": np.log10(np.maximum((squares**2).mean(axis=1) / power**2, 1.0)),
    }


def amplitude_db(amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """20 log10, no lower than the floor."""
    return np.asarray(20 * np.log10(np.maximum(amplitudes, 10 ** (FLOOR_DB / 20))))


def energy_db(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """10 log10, no lower than the floor."""
    return np.asarray(10 * np.log10(np.maximum(energies, 10 ** (FLOOR_DB / 10))))


def ratio_db(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """10 log10 of a ratio of energies, no lower than -60 dB."""
    return np.asarray(10 * np.log10(np.maximum(ratios, 10 ** (-RATIO_LIMIT_DB / 10))))


def _pitch_salience(relative: Rows, nyquist_hz: float) -> NDArray[np.float64]:
    """The highest autocorrelation of a spectrum with itself, 100 to 5,000 Hz apart, over its energy."""
    n_bins = relative.shape[1]
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(relative, n=4 * (n_bins - 1), axis=1)) ** 2, axis=1)
    first, stop = (int(frequency_hz / nyquist_hz * (n_bins - 1)) for frequency_hz in _SALIENT_HZ)
    return np.asarray(autocorrelation[:, first:stop].max(axis=1) / autocorrelation[:, 0])


def _bark(spectra: Rows, nyquist_hz: float) -> Columns:
    bin_hz = nyquist_hz / (spectra.shape[1] - 1)
    edges = np.floor(np.array(_BARK_EDGES_HZ) / bin_hz + 0.5).astype(np.int64)
    energies = np.add.reduceat(spectra**2, edges, axis=1)[:, :-1]  # (n, 27); what lies above the last edge is no band
    _, variance, _, _ = _moments(energies, np.arange(energies.shape[1], dtype=np.float64))
    return {
        **{f"bark_{i}": levels for i, levels in enumerate(energy_db(energies).T)},
        "bark_crest": ratio_db(energies.max(axis=1) / np.maximum(energies.mean(axis=1), np.finfo(np.float64).tiny)),
        "bark_flatness": ratio_db(_flatness(energies)),
        "bark_spread": np.sqrt(variance),
    }


def _moments(weights: Rows, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean, variance, skewness and kurtosis of `places` (k,) under each row of `weights` (n, k); a point's are 0."""
    total = weights.sum(axis=1, keepdims=True)
    share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    mean = (share * places).sum(axis=1)
    away = places - mean[:, None]
    second = share * away**2
    variance = second.sum(axis=1)
    third, fourth = (second * away).sum(axis=1), (second * away**2).sum(axis=1)
    is_point = variance <= 0
    safe = np.where(is_point, 1.0, variance)
    return mean, variance, np.where(is_point, 0.0, third / safe**1.5), np.where(is_point, 0.0, fourth / safe**2)


def _flatness(rows: Rows) -> NDArray[np.float64]:
    """Geometric over arithmetic mean, 0 where there is a zero in a row."""
    mean = rows.mean(axis=1)
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(rows).mean(axis=1))
    return np.asarray(np.divide(geometric, mean, out=np.zeros_like(mean), where=mean > 0))


def _entropy(rows: Rows) -> NDArray[np.float64]:
    """In bit, of each row as a distribution."""
    share = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(-(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1))
