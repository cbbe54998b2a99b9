"""Timbre descriptors of a frame, and of whole clips, by Essentia's standard-mode algorithms.

Each algorithm is called on its own: the one that bundles them, LowLevelSpectralExtractor, was measured eighty times
slower. What is but a sum over the spectrum is worked out for many frames at once (`statistics`). What a descriptor
means, and its value where it is undefined, stands in `descriptors`; what is known here is how it is computed, and where
Essentia's own answer had to be guarded.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import centred_frames, frame_blocks
from features.timbre.algorithm import make_algorithm
from features.timbre.cepstra import describe_cepstra
from features.timbre.descriptors import (
    DESCRIPTORS,
    FLOOR_DB,
    N_CONTRAST_BANDS,
)
from features.timbre.spec import FRAME_LENGTH, SAMPLE_RATE_HZ
from features.timbre.statistics import RATIO_LIMIT_DB, amplitude_db, describe_frames, describe_spectra
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.timebase import FrameGrid

Vector: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32]
"""The same of many frames, a row each."""

Values: TypeAlias = dict[str, float]
"""Descriptor name to value, of one frame."""

BLOCK_FRAMES = 400
"""Frames held at once, 3 MB: ten seconds."""

MIN_F0_HZ, MAX_F0_HZ = 40.0, 5_000.0
MAX_PARTIAL_HZ = 10_000.0
VOICED_CONFIDENCE = 0.5
"""Of YinFFT, where white noise has about 0.1 and a steady tone 0.95 or more."""

PEAK_THRESHOLD_DB = -60.0
"""Spectral peaks further than this below the largest magnitude are not looked at."""

_NAMES = tuple(descriptor.name for descriptor in DESCRIPTORS)
_SILENT = np.array([descriptor.silent for descriptor in DESCRIPTORS], dtype=np.float32)
_SILENT.flags.writeable = False
_COLUMN = {name: column for column, name in enumerate(_NAMES)}
_FLUX = _NAMES.index("spectral_flux")
_NYQUIST_HZ = SAMPLE_RATE_HZ / 2


class EssentiaTimbre:
    """The extractor of the `timbre` stream."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._algorithms = make_algorithms()

    @property
    def reach(self) -> int:
        return FRAME_LENGTH // 2 + self.spec.grid.hop  # flux looks at the frame before

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        return [
            {"descriptors": describe_waveform(waveform, self.spec.grid, self._algorithms)} for waveform in waveforms
        ]


@dataclass(frozen=True)
class Algorithms:
    """Essentia's algorithms as configured for this stream; none of them remembers a frame."""

    window: Callable[..., Any]
    spectrum: Callable[..., Any]
    contrast: Callable[..., Any]
    complexity: Callable[..., Any]
    strong_peak: Callable[..., Any]
    pitch: Callable[..., Any]
    peaks: Callable[..., Any]
    partials: Callable[..., Any]
    dissonance: Callable[..., Any]
    inharmonicity: Callable[..., Any]
    tristimulus: Callable[..., Any]


def make_algorithms() -> Algorithms:
    """The algorithms, configured. The window is scaled so that a sine of amplitude 1 has a peak magnitude of 1."""
    rate_hz = float(SAMPLE_RATE_HZ)
    return Algorithms(
        window=make_algorithm("Windowing", type="hann", size=FRAME_LENGTH, normalized=True, zeroPhase=False),
        spectrum=make_algorithm("Spectrum", size=FRAME_LENGTH),
        contrast=make_algorithm(
            "SpectralContrast",
            sampleRate=rate_hz,
            frameSize=FRAME_LENGTH,
            highFrequencyBound=11_000,
            numberBands=N_CONTRAST_BANDS,
        ),
        complexity=make_algorithm("SpectralComplexity", sampleRate=rate_hz),
        strong_peak=make_algorithm("StrongPeak"),
        pitch=make_algorithm(
            "PitchYinFFT", sampleRate=rate_hz, frameSize=FRAME_LENGTH, minFrequency=MIN_F0_HZ, maxFrequency=MAX_F0_HZ
        ),
        peaks=make_algorithm(
            "SpectralPeaks",
            sampleRate=rate_hz,
            magnitudeThreshold=PEAK_THRESHOLD_DB,
            minFrequency=MIN_F0_HZ / 2,
            maxFrequency=MAX_PARTIAL_HZ,
            maxPeaks=FRAME_LENGTH,  # all of them
        ),
        partials=make_algorithm("HarmonicPeaks"),
        dissonance=make_algorithm("Dissonance"),
        inharmonicity=make_algorithm("Inharmonicity"),
        tristimulus=make_algorithm("Tristimulus"),
    )


def describe_waveform(waveform: Waveform, grid: FrameGrid, algorithms: Algorithms) -> NDArray[np.float32]:
    """The descriptors of every frame of a waveform at 48 kHz, (n_frames, 95) float32, all finite."""
    n_frames = grid.n_frames(len(waveform))
    rows = np.empty((n_frames, len(DESCRIPTORS)), dtype=np.float32)
    last: Vector = np.zeros(FRAME_LENGTH // 2 + 1, dtype=np.float32)  # before the first frame there is silence
    for first, stop in frame_blocks(n_frames, BLOCK_FRAMES):
        frames = centred_frames(waveform, grid, FRAME_LENGTH, first, stop)
        spectra = np.empty((stop - first + 1, FRAME_LENGTH // 2 + 1), dtype=np.float32)
        spectra[0] = last
        # Essentia's transform, since what its rounding leaves in empty bins shows in the flatness.
        for frame, spectrum in zip(frames, spectra[1:], strict=True):
            spectrum[:] = algorithms.spectrum(algorithms.window(frame))
        rows[first:stop] = _describe_block(frames, spectra[1:], algorithms)
        change = np.diff(spectra.astype(np.float64), axis=0)
        rows[first:stop, _FLUX] = amplitude_db(np.sqrt((change**2).sum(axis=1)))
        last = spectra[-1].copy()
    return rows


def _describe_block(frames: Vectors, spectra: Vectors, algorithms: Algorithms) -> Vectors:
    """The descriptors of frames (n, 2048), not windowed, with the magnitudes (n, 1025) under the window: (n, 95).

    Flux, which needs the frame before, is left at its silent value.
    """
    rows = np.tile(_SILENT, (len(frames), 1))
    heard = np.flatnonzero(amplitude_db(spectra.max(axis=1).astype(np.float64)) > FLOOR_DB)
    if not len(heard):
        return rows
    columns = describe_spectra(spectra[heard].astype(np.float64), _NYQUIST_HZ)
    columns |= describe_cepstra(spectra[heard].astype(np.float64))
    columns |= describe_frames(frames[heard].astype(np.float64))
    for name, values in columns.items():
        rows[heard, _COLUMN[name]] = values
    for row, spectrum in zip(heard, spectra[heard], strict=True):
        for name, value in _one_by_one(spectrum, algorithms).items():
            rows[row, _COLUMN[name]] = value
    return rows


def _one_by_one(spectrum: Vector, algorithms: Algorithms) -> Values:
    """What is more than a sum over the spectrum (1025,) of one frame that is not silent."""
    relative = spectrum / spectrum.max()  # in [0, 1], the same at any level
    relative_db = 20 * np.log10(np.maximum(relative, np.float32(10 ** (FLOOR_DB / 20))))
    return {
        **_spectral(relative, algorithms),
        **_harmonic(spectrum, relative_db, algorithms),
    }


def _spectral(relative: Vector, algorithms: Algorithms) -> Values:
    # Half of it, since contrast raises to the power 1 / log(mean): a flat spectrum of ones would divide by zero.
    contrast, log_valley = algorithms.contrast(relative / 2)
    valley_db = 20 / math.log(10) * (log_valley + math.log(2))
    return {
        "spectral_complexity": algorithms.complexity(relative),
        "strong_peak": math.log10(1 + algorithms.strong_peak(relative)),
        **_numbered("spectral_contrast", contrast),
        **_numbered("spectral_valley", np.maximum(valley_db, FLOOR_DB)),
    }


def _harmonic(spectrum: Vector, relative_db: Vector, algorithms: Algorithms) -> Values:
    f0_hz, confidence = algorithms.pitch(spectrum)
    frequencies_hz, peak_levels_db = algorithms.peaks(relative_db)  # interpolated in dB, where a peak is a parabola
    magnitudes = np.power(np.float32(10), peak_levels_db / np.float32(20))
    values = {
        "dissonance": algorithms.dissonance(frequencies_hz, magnitudes),
        "pitch_confidence": min(max(confidence, 0.0), 1.0),
        "inharmonicity": 0.0,
        "tristimulus_1": 0.0,
        "tristimulus_2": 0.0,
        "tristimulus_3": 0.0,
        "odd_to_even": 0.0,
        "harmonic_share": 0.0,
    }
    if confidence < VOICED_CONFIDENCE or len(frequencies_hz) == 0:
        return values
    partials_hz, partials = algorithms.partials(frequencies_hz, magnitudes, f0_hz)
    energies = partials.astype(np.float64) ** 2
    if not energies.any():
        return values
    odd, even = float(energies[0::2].sum()), float(energies[1::2].sum())
    limit = 10 ** (RATIO_LIMIT_DB / 10)
    tristimulus = algorithms.tristimulus(partials_hz, partials)
    return values | {
        "inharmonicity": algorithms.inharmonicity(partials_hz, partials),
        "tristimulus_1": tristimulus[0],
        "tristimulus_2": tristimulus[1],
        "tristimulus_3": tristimulus[2],
        # Not Essentia's own, which answers 0 as well as the largest float where there is no even energy.
        "odd_to_even": 10 * math.log10(max(odd, even / limit) / max(even, odd / limit)),
        "harmonic_share": min(1.0, float(energies.sum() / np.square(magnitudes, dtype=np.float64).sum())),
    }


def _numbered(name: str, values: Vector) -> Values:
    return {f"{name}_{i}": float(value) for i, value in enumerate(values)}
