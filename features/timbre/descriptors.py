"""The 95 descriptors of the `timbre` stream, in stored order: name, unit, meaning, and the value on a silent frame.

Three conventions hold throughout:

- Levels and other heavy-tailed quantities are stored as logarithms, since a model normalises each channel by its mean
  and standard deviation. 0 dB is the peak magnitude of a full-scale sine; no band and no level goes below -100 dB.
- What a name does not call a level does not change with the level: peaks, contrast and complexity are taken from the
  spectrum divided by its largest magnitude. Only mfcc_0, gfcc_0, the Bark bands, flux, HFC, loudness and RMS change.
- No value is ever undefined. A *silent* frame, with no magnitude above -100 dB, has `silent` in every channel but
  flux, which still tells of the sound that ended. Descriptors of harmonics have a value of their own where a frame is
  *unvoiced* (`pitch_confidence` below 0.5, or no peak near a harmonic); each says which.

Sources: Peeters, "A large set of audio features for sound description", CUIDADO 2004; the reference of Essentia's
algorithms, whose names these follow.
"""

from dataclasses import dataclass

FLOOR_DB = -100.0
"""Full scale over the rounding noise of 16 bits is 98 dB: what lies below says more of the format than of the sound."""

N_CEPSTRAL_BANDS = 40
N_COEFFICIENTS = 13
N_BARK_BANDS = 27
N_CONTRAST_BANDS = 6

_SILENT_COEFFICIENT_0_DB = FLOOR_DB * N_CEPSTRAL_BANDS**0.5
"""What an orthonormal cosine transform makes of 40 bands at the floor."""


@dataclass(frozen=True)
class Descriptor:
    """One channel. `silent` is its value on a silent frame; where voicing matters, `meaning` tells the unvoiced one."""

    name: str
    unit: str
    meaning: str
    silent: float = 0.0


def _coefficients(name: str, bands: str) -> tuple[Descriptor, ...]:
    meaning = f"cepstral coefficient of {N_CEPSTRAL_BANDS} {bands} in dB; 0 is the level, the others are the shape"
    silent = (_SILENT_COEFFICIENT_0_DB, *[0.0] * (N_COEFFICIENTS - 1))
    return tuple(Descriptor(f"{name}_{i}", "dB", meaning, silent[i]) for i in range(N_COEFFICIENTS))


SPECTRAL = (
    Descriptor("spectral_centroid", "Hz", "magnitude-weighted mean frequency"),
    Descriptor("spectral_spread", "Hz", "standard deviation of frequency about the centroid"),
    Descriptor("spectral_skewness", "log10", "sign(s) log10(1 + |s|) of the skewness s about the centroid"),
    Descriptor("spectral_kurtosis", "log10", "log10 of the kurtosis, which is at least 1 and 1.8 for a flat spectrum"),
    Descriptor("spectral_rolloff", "Hz", "frequency below which 85 % of the energy lies"),
    Descriptor(
        "spectral_flux", "dB", "L2 distance to the spectrum of the frame before; frame 0's is to silence", FLOOR_DB
    ),
    Descriptor("spectral_flatness", "dB", "geometric over arithmetic mean of the magnitudes, -60 at least"),
    Descriptor("spectral_crest", "dB", "largest over mean magnitude"),
    Descriptor("spectral_complexity", "peaks", "peaks above 0.005 of the largest magnitude"),
    Descriptor("spectral_entropy", "bit", "Shannon entropy of the magnitudes as a distribution over the 1,025 bins"),
    Descriptor("spectral_decrease", "dB/kHz", "slope of the straight line through the spectrum in dB"),
    Descriptor("strong_peak", "log10", "log10(1 + 1/w), w the width in decades of the largest peak at half its height"),
    Descriptor("hfc", "dB", "high-frequency content after Masri: energy weighted by frequency in Hz", FLOOR_DB),
    Descriptor("pitch_salience", "1", "highest over zero-lag autocorrelation of the spectrum, from 0 to 1"),
)

CONTRAST = (
    *(
        Descriptor(f"spectral_contrast_{i}", "1", "from -1, flat, up to 0, peaks stand out of band i of 6", -1.0)
        for i in range(N_CONTRAST_BANDS)
    ),
    *(
        Descriptor(f"spectral_valley_{i}", "dB", "valleys of band i of 6, below the largest magnitude", FLOOR_DB)
        for i in range(N_CONTRAST_BANDS)
    ),
)

HARMONIC = (
    Descriptor(
        "dissonance", "1", "sensory dissonance of the spectral peaks up to 10 kHz, 0 where there is one or none"
    ),
    Descriptor("pitch_confidence", "1", "of YinFFT, from 0 to 1"),
    Descriptor("inharmonicity", "1", "energy-weighted distance of 20 partials from multiples of f0; 0 unvoiced"),
    Descriptor("tristimulus_1", "1", "share of partial 1 in the magnitude of 20 partials; 0 unvoiced"),
    Descriptor("tristimulus_2", "1", "share of partials 2 to 4; 0 unvoiced"),
    Descriptor("tristimulus_3", "1", "share of partials 5 to 20; 0 unvoiced"),
    Descriptor("odd_to_even", "dB", "energy of odd over even partials, within -60 and 60; 0 unvoiced"),
    Descriptor("harmonic_share", "1", "share of the 20 partials in the energy of all spectral peaks; 0 unvoiced"),
)

BARK = (
    *(
        Descriptor(f"bark_{i}", "dB", "energy in Bark band i; bands 0 to 3 are halves of the first two", FLOOR_DB)
        for i in range(N_BARK_BANDS)
    ),
    Descriptor("bark_crest", "dB", "largest over mean energy of the Bark bands"),
    Descriptor("bark_flatness", "dB", "geometric over arithmetic mean energy of the Bark bands, -60 at least"),
    Descriptor("bark_spread", "bands", "standard deviation of the energy over the Bark bands"),
)

TEMPORAL = (
    Descriptor("zero_crossing_rate", "1", "sign changes a sample"),
    Descriptor("loudness", "1", "Stevens' power law: energy of the frame's samples to the power 0.67"),
    Descriptor("rms", "dB", "root mean square of the frame's samples; 0 is a full-scale square wave", FLOOR_DB),
    Descriptor("crest_factor", "dB", "largest sample over root mean square"),
    Descriptor(
        "amplitude_kurtosis", "log10", "log10 of mean x^4 over squared mean x^2: 0 is a square wave, high a click"
    ),
)

DESCRIPTORS: tuple[Descriptor, ...] = (
    *_coefficients("mfcc", "mel bands from 0 to 11 kHz"),
    *_coefficients("gfcc", "gammatone bands from 40 Hz to 22 kHz"),
    *SPECTRAL,
    *CONTRAST,
    *HARMONIC,
    *BARK,
    *TEMPORAL,
)
