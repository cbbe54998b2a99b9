"""The timbre descriptors as a plain loop: every frame by itself, and every descriptor that Essentia has by Essentia."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import essentia
import numpy as np
from numpy.typing import NDArray

from features.extractor import Waveform
from features.framing import centred_frames, frame_blocks
from features.timbre.descriptors import (
    DESCRIPTORS,
    FLOOR_DB,
    N_BARK_BANDS,
    N_CEPSTRAL_BANDS,
    N_COEFFICIENTS,
    N_CONTRAST_BANDS,
)
from features.timbre.spec import FRAME_LENGTH, SAMPLE_RATE_HZ
from storage_schema.timebase import FrameGrid

essentia.log.infoActive = False  # before the next import, which else writes to standard error

import essentia.standard as es  # noqa: E402 - silenced first

Vector: TypeAlias = NDArray[np.float32]
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

RATIO_LIMIT_DB = 60.0

_NAMES = tuple(descriptor.name for descriptor in DESCRIPTORS)
_SILENT = np.array([descriptor.silent for descriptor in DESCRIPTORS], dtype=np.float32)
_SILENT.flags.writeable = False
_FLUX = _NAMES.index("spectral_flux")
_NYQUIST_HZ = SAMPLE_RATE_HZ / 2


@dataclass(frozen=True)
class Algorithms:
    """Essentia's algorithms as configured for this stream; none of them remembers a frame."""

    window: Callable[..., Any]
    spectrum: Callable[..., Any]
    mfcc: Callable[..., Any]
    gfcc: Callable[..., Any]
    bark: Callable[..., Any]
    contrast: Callable[..., Any]
    complexity: Callable[..., Any]
    moments: Callable[..., Any]
    bark_moments: Callable[..., Any]
    shape: Callable[..., Any]
    centroid: Callable[..., Any]
    rolloff: Callable[..., Any]
    flatness: Callable[..., Any]
    crest: Callable[..., Any]
    entropy: Callable[..., Any]
    decrease: Callable[..., Any]
    strong_peak: Callable[..., Any]
    hfc: Callable[..., Any]
    pitch_salience: Callable[..., Any]
    pitch: Callable[..., Any]
    peaks: Callable[..., Any]
    partials: Callable[..., Any]
    dissonance: Callable[..., Any]
    inharmonicity: Callable[..., Any]
    tristimulus: Callable[..., Any]
    zero_crossing_rate: Callable[..., Any]
    loudness: Callable[..., Any]


def make_algorithms() -> Algorithms:
    """The algorithms, configured. The window is scaled so that a sine of amplitude 1 has a peak magnitude of 1."""
    rate_hz = float(SAMPLE_RATE_HZ)
    cepstrum: dict[str, Any] = {
        "sampleRate": rate_hz,
        "inputSize": FRAME_LENGTH // 2 + 1,
        "numberBands": N_CEPSTRAL_BANDS,
        "numberCoefficients": N_COEFFICIENTS,
        "logType": "dbpow",  # the bands are energies; Essentia's default would double their dB
        "silenceThreshold": 10 ** (FLOOR_DB / 10),
    }
    return Algorithms(
        window=es.Windowing(type="hann", size=FRAME_LENGTH, normalized=True, zeroPhase=False),
        spectrum=es.Spectrum(size=FRAME_LENGTH),
        mfcc=es.MFCC(highFrequencyBound=11_000, **cepstrum),
        gfcc=es.GFCC(highFrequencyBound=22_050, **cepstrum),
        bark=es.BarkBands(sampleRate=rate_hz, numberBands=N_BARK_BANDS),
        contrast=es.SpectralContrast(
            sampleRate=rate_hz, frameSize=FRAME_LENGTH, highFrequencyBound=11_000, numberBands=N_CONTRAST_BANDS
        ),
        complexity=es.SpectralComplexity(sampleRate=rate_hz),
        moments=es.CentralMoments(range=_NYQUIST_HZ),
        bark_moments=es.CentralMoments(range=N_BARK_BANDS - 1),
        shape=es.DistributionShape(),
        centroid=es.Centroid(range=_NYQUIST_HZ),
        rolloff=es.RollOff(sampleRate=rate_hz),
        flatness=es.Flatness(),
        crest=es.Crest(),
        entropy=es.Entropy(),
        decrease=es.Decrease(range=_NYQUIST_HZ / 1000),
        strong_peak=es.StrongPeak(),
        hfc=es.HFC(sampleRate=rate_hz),
        pitch_salience=es.PitchSalience(sampleRate=rate_hz),
        pitch=es.PitchYinFFT(
            sampleRate=rate_hz, frameSize=FRAME_LENGTH, minFrequency=MIN_F0_HZ, maxFrequency=MAX_F0_HZ
        ),
        peaks=es.SpectralPeaks(
            sampleRate=rate_hz,
            magnitudeThreshold=PEAK_THRESHOLD_DB,
            minFrequency=MIN_F0_HZ / 2,
            maxFrequency=MAX_PARTIAL_HZ,
            maxPeaks=FRAME_LENGTH,  # all of them
        ),
        partials=es.HarmonicPeaks(),
        dissonance=es.Dissonance(),
        inharmonicity=es.Inharmonicity(),
        tristimulus=es.Tristimulus(),
        zero_crossing_rate=es.ZeroCrossingRate(),
        loudness=es.Loudness(),
    )


def describe_waveform(waveform: Waveform, grid: FrameGrid, algorithms: Algorithms) -> NDArray[np.float32]:
    """The descriptors of every frame of a waveform at 48 kHz, (n_frames, 95) float32, all finite."""
    n_frames = grid.n_frames(len(waveform))
    rows = np.empty((n_frames, len(DESCRIPTORS)), dtype=np.float32)
    spectrum: Vector = np.zeros(FRAME_LENGTH // 2 + 1, dtype=np.float32)  # before the first frame there is silence
    for first, stop in frame_blocks(n_frames, BLOCK_FRAMES):
        for i, frame in enumerate(centred_frames(waveform, grid, FRAME_LENGTH, first, stop), start=first):
            previous, spectrum = spectrum, algorithms.spectrum(algorithms.window(frame))
            rows[i] = describe_frame(frame, spectrum, algorithms)
            rows[i, _FLUX] = _amplitude_db(float(np.linalg.norm(spectrum - previous)))
    return rows


def describe_frame(frame: Vector, spectrum: Vector, algorithms: Algorithms) -> Vector:
    """The descriptors of one frame, (95,) float32, with the silent value for flux, which needs the frame before.

    frame: (2048,) samples, not windowed. spectrum: (1025,) its magnitudes under the window.
    """
    largest = float(spectrum.max())
    if _amplitude_db(largest) <= FLOOR_DB:
        return _SILENT
    relative = spectrum / np.float32(largest)  # in [0, 1], the same at any level
    relative_db = 20 * np.log10(np.maximum(relative, np.float32(10 ** (FLOOR_DB / 20))))
    values = {
        "spectral_flux": FLOOR_DB,
        **_cepstral(spectrum, algorithms),
        **_spectral(spectrum, relative, relative_db, algorithms),
        **_harmonic(spectrum, relative_db, algorithms),
        **_bark(spectrum, algorithms),
        **_temporal(frame, algorithms),
    }
    return np.array([values[name] for name in _NAMES], dtype=np.float32)


def _cepstral(spectrum: Vector, algorithms: Algorithms) -> Values:
    _, mfcc = algorithms.mfcc(spectrum)
    _, gfcc = algorithms.gfcc(spectrum)
    return _numbered("mfcc", mfcc) | _numbered("gfcc", gfcc)


def _spectral(spectrum: Vector, relative: Vector, relative_db: Vector, algorithms: Algorithms) -> Values:
    variance, skewness, excess_kurtosis = algorithms.shape(algorithms.moments(relative))
    # Half of it, since contrast raises to the power 1 / log(mean): a flat spectrum of ones would divide by zero.
    contrast, log_valley = algorithms.contrast(relative / 2)
    valley_db = 20 / math.log(10) * (log_valley + math.log(2))
    return {
        "spectral_centroid": algorithms.centroid(relative),
        "spectral_spread": math.sqrt(max(variance, 0.0)),
        "spectral_skewness": math.copysign(math.log10(1 + abs(skewness)), skewness),
        "spectral_kurtosis": math.log10(max(excess_kurtosis + 3, 1.0)),
        "spectral_rolloff": algorithms.rolloff(relative),
        "spectral_flatness": _ratio_db(algorithms.flatness(relative)),
        "spectral_crest": 2 * _ratio_db(algorithms.crest(relative)),  # of magnitudes, hence twice
        "spectral_complexity": algorithms.complexity(relative),
        "spectral_entropy": algorithms.entropy(relative),
        "spectral_decrease": algorithms.decrease(relative_db),
        "strong_peak": math.log10(1 + algorithms.strong_peak(relative)),
        "hfc": _energy_db(algorithms.hfc(spectrum)),
        "pitch_salience": algorithms.pitch_salience(relative),
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


def _bark(spectrum: Vector, algorithms: Algorithms) -> Values:
    energies = algorithms.bark(spectrum)
    levels_db = 10 * np.log10(np.maximum(energies, np.float32(10 ** (FLOOR_DB / 10))))
    variance, _, _ = algorithms.shape(algorithms.bark_moments(energies))
    return {
        **_numbered("bark", levels_db),
        "bark_crest": _ratio_db(algorithms.crest(energies)),
        "bark_flatness": _ratio_db(algorithms.flatness(energies)),
        "bark_spread": math.sqrt(max(variance, 0.0)),
    }


def _temporal(frame: Vector, algorithms: Algorithms) -> Values:
    squares = np.square(frame, dtype=np.float64)
    power = float(squares.mean())
    return {
        "zero_crossing_rate": algorithms.zero_crossing_rate(frame),
        "loudness": algorithms.loudness(frame),
        "rms": _energy_db(power),
        "crest_factor": 10 * math.log10(float(squares.max()) / power),
        "amplitude_kurtosis": math.log10(max(float(np.square(squares).mean()) / power**2, 1.0)),
    }


def _numbered(name: str, values: Vector) -> Values:
    return {f"{name}_{i}": float(value) for i, value in enumerate(values)}


def _amplitude_db(amplitude: float) -> float:
    return 20 * math.log10(max(amplitude, 10 ** (FLOOR_DB / 20)))


def _energy_db(energy: float) -> float:
    return 10 * math.log10(max(energy, 10 ** (FLOOR_DB / 10)))


def _ratio_db(ratio: float) -> float:
    """10 log10 of a ratio of energies, no lower than -60 dB."""
    return 10 * math.log10(max(ratio, 10 ** (-RATIO_LIMIT_DB / 10)))
