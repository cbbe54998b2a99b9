"""MFCC and GFCC of many frames at once, through Essentia's own filters.

Essentia's MelBands and ERBBands are sums over a power spectrum with fixed weights, and the weights are found by asking
for the bands of spectra with a single bin, once a process. Then both cepstra are two matrix products, which a call a
frame takes ten times as long for.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.timbre.algorithm import make_algorithm
from features.timbre.descriptors import FLOOR_DB, N_CEPSTRAL_BANDS, N_COEFFICIENTS
from features.timbre.spec import FRAME_LENGTH, SAMPLE_RATE_HZ

_N_BINS = FRAME_LENGTH // 2 + 1
_HIGHEST_HZ = {"mfcc": 11_000, "gfcc": 22_050}

_ROWS_AT_ONCE = 16
"""A matrix product of another height may round differently, and then a frame's numbers would depend on its block."""


def describe_cepstra(spectra: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of magnitudes (n, 1025): descriptor name to one value a frame, (n,), for 13 coefficients of either kind.

    Source: Essentia's MFCC and GFCC with `logType` dbpow; the cosine transform is the orthonormal DCT-II.
    """
    n = len(spectra)
    power = np.zeros((-(-n // _ROWS_AT_ONCE), _ROWS_AT_ONCE, _N_BINS))
    power.reshape(-1, _N_BINS)[:n] = spectra**2
    bands = np.stack([tile @ _filters() for tile in power])  # one by one: NumPy's own product of stacks is far slower
    levels_db = 10 * np.log10(np.maximum(bands, 10 ** (FLOOR_DB / 10)))
    coefficients = levels_db.reshape(*levels_db.shape[:2], len(_HIGHEST_HZ), N_CEPSTRAL_BANDS) @ _cosines()
    flat = coefficients.reshape(-1, len(_HIGHEST_HZ), N_COEFFICIENTS)[:n]
    return {f"{name}_{i}": flat[:, kind, i] for kind, name in enumerate(_HIGHEST_HZ) for i in range(N_COEFFICIENTS)}


@cache
def _filters() -> NDArray[np.float64]:
    """The weights of 40 mel bands, then of 40 gammatone bands, (1025, 80)."""
    settings: dict[str, Any] = {
        "sampleRate": float(SAMPLE_RATE_HZ),
        "inputSize": _N_BINS,
        "numberBands": N_CEPSTRAL_BANDS,
        "numberCoefficients": N_COEFFICIENTS,
    }
    algorithms = [
        make_algorithm(name.upper(), highFrequencyBound=highest_hz, **settings)
        for name, highest_hz in _HIGHEST_HZ.items()
    ]
    single_bins = np.eye(_N_BINS, dtype=np.float32)
    weights = np.stack(
        [np.concatenate([algorithm(spectrum)[0] for algorithm in algorithms]) for spectrum in single_bins]
    )
    return weights.astype(np.float64)


@cache
def _cosines() -> NDArray[np.float64]:
    """The orthonormal DCT-II, (40, 13)."""
    band = np.arange(N_CEPSTRAL_BANDS)[:, None]
    waves = np.cos(np.pi * (band + 0.5) * np.arange(N_COEFFICIENTS) / N_CEPSTRAL_BANDS)
    waves *= np.sqrt(2 / N_CEPSTRAL_BANDS)
    waves[:, 0] /= np.sqrt(2)
    return np.asarray(waves)
