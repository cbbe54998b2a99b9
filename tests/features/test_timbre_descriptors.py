"""What each timbre descriptor means: closed forms on signals made here, and NumPy's way to the same number."""

from itertools import pairwise

import essentia
import numpy as np
import pytest
from scipy.fft import dct

from features.timbre.descriptors import DESCRIPTORS
from features.timbre.essentia import describe_waveform, make_algorithms
from features.timbre.spec import FRAME_LENGTH, SAMPLE_RATE_HZ, timbre_spec

essentia.log.infoActive = False

import essentia.standard as es  # noqa: E402 - silenced first

NAMES = [descriptor.name for descriptor in DESCRIPTORS]
GRID = timbre_spec().grid
ALGORITHMS = make_algorithms()
BIN_HZ = SAMPLE_RATE_HZ / FRAME_LENGTH
BINS_HZ = np.arange(FRAME_LENGTH // 2 + 1) * BIN_HZ
TIME_S = np.arange(4 * GRID.hop) / SAMPLE_RATE_HZ
MIDDLE = 2
"""The frame that all of a four-hop signal's checks look at; it reaches past neither end."""


def describe(signal: np.ndarray, frame: int = MIDDLE) -> dict[str, float]:
    rows = describe_waveform(signal.astype(np.float32), GRID, ALGORITHMS)
    return dict(zip(NAMES, rows[frame].tolist(), strict=True))


def sine(frequency_hz: float, amplitude: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * TIME_S)


def tone(f0_hz: float, amplitudes: list[float]) -> np.ndarray:
    return 0.2 * sum(sine(k * f0_hz, amplitude) for k, amplitude in enumerate(amplitudes, start=1))


def noise() -> np.ndarray:
    return 0.2 * np.random.default_rng(0).standard_normal(len(TIME_S))


def click() -> np.ndarray:
    signal = np.zeros(len(TIME_S))
    signal[MIDDLE * GRID.hop] = 1
    return signal


def square() -> np.ndarray:
    return np.where(sine(440.0) >= 0, 1.0, -1.0)


def frame_of(signal: np.ndarray, frame: int = MIDDLE) -> np.ndarray:
    start = frame * GRID.hop - FRAME_LENGTH // 2
    return signal[start : start + FRAME_LENGTH]


def spectrum_of(signal: np.ndarray, frame: int = MIDDLE) -> np.ndarray:
    """The magnitudes under a Hann window with the sum 2, so that a full-scale sine has the magnitude 1."""
    window = np.hanning(FRAME_LENGTH)
    return np.abs(np.fft.rfft(frame_of(signal, frame) * window * 2 / window.sum()))


def db(energy: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(energy, 1e-10))


@pytest.mark.parametrize("frequency_hz", [500.0, 1000.0, 7000.0])
def test_a_sine_has_its_frequency_as_centroid_and_rolloff(frequency_hz: float) -> None:
    found = describe(sine(frequency_hz))
    assert found["spectral_centroid"] == pytest.approx(frequency_hz, abs=BIN_HZ / 4)
    assert found["spectral_rolloff"] == pytest.approx(frequency_hz, abs=1.5 * BIN_HZ)
    assert found["spectral_spread"] < 2 * BIN_HZ


def test_a_click_has_a_flat_spectrum() -> None:
    found = describe(click())
    nyquist_hz = SAMPLE_RATE_HZ / 2
    assert found["spectral_centroid"] == pytest.approx(nyquist_hz / 2, rel=1e-4)
    assert found["spectral_spread"] == pytest.approx(nyquist_hz / np.sqrt(12), rel=2e-3)
    assert found["spectral_skewness"] == pytest.approx(0, abs=1e-3)
    assert found["spectral_kurtosis"] == pytest.approx(np.log10(1.8), abs=1e-3)
    assert found["spectral_flatness"] == pytest.approx(0, abs=1e-3)
    assert found["spectral_crest"] == pytest.approx(0, abs=1e-3)
    assert found["spectral_decrease"] == pytest.approx(0, abs=1e-3)
    assert found["spectral_entropy"] == pytest.approx(np.log2(1025), abs=1e-3)
    for i in range(6):
        assert found[f"spectral_contrast_{i}"] == pytest.approx(-1, abs=1e-3)
        assert found[f"spectral_valley_{i}"] == pytest.approx(0, abs=1e-3)


def test_the_shape_of_the_spectrum_of_noise_equals_numpy() -> None:
    found, spectrum = describe(noise()), spectrum_of(noise())
    share = spectrum / spectrum.sum()
    centroid_hz = (share * BINS_HZ).sum()
    deviation = BINS_HZ - centroid_hz
    spread_hz = np.sqrt((share * deviation**2).sum())
    skewness = (share * deviation**3).sum() / spread_hz**3
    energy = np.cumsum(spectrum**2)
    levels_db = 20 * np.log10(spectrum)
    expected = {
        "spectral_centroid": centroid_hz,
        "spectral_spread": spread_hz,
        "spectral_skewness": np.sign(skewness) * np.log10(1 + abs(skewness)),
        "spectral_kurtosis": np.log10((share * deviation**4).sum() / spread_hz**4),
        "spectral_rolloff": BINS_HZ[np.searchsorted(energy, 0.85 * energy[-1])],
        "spectral_flatness": 10 * np.log10(np.exp(np.log(spectrum).mean()) / spectrum.mean()),
        "spectral_crest": 20 * np.log10(spectrum.max() / spectrum.mean()),
        "spectral_entropy": -(share * np.log2(share)).sum(),
        "spectral_decrease": np.polyfit(BINS_HZ / 1000, levels_db, 1)[0],
        "spectral_flux": 20 * np.log10(np.linalg.norm(spectrum - spectrum_of(noise(), MIDDLE - 1))),
        "hfc": 10 * np.log10((spectrum**2 * BINS_HZ).sum()),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-3, abs=2e-3), name  # Essentia adds up in float32


def test_bark_bands_equal_the_energy_of_their_bins() -> None:
    found, energy = describe(noise()), spectrum_of(noise()) ** 2
    edges_hz = [0, 50, 100, 150, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150]
    edges_hz += [3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500, 20500]
    starts = np.floor(np.array(edges_hz) / BIN_HZ + 0.5).astype(int)
    bands = np.array([energy[start:stop].sum() for start, stop in pairwise(starts)])
    np.testing.assert_allclose([found[f"bark_{i}"] for i in range(27)], db(bands), atol=1e-3)
    assert found["bark_crest"] == pytest.approx(10 * np.log10(bands.max() / bands.mean()), abs=1e-3)
    assert found["bark_flatness"] == pytest.approx(10 * np.log10(np.exp(np.log(bands).mean()) / bands.mean()), abs=1e-3)
    share, index = bands / bands.sum(), np.arange(27)
    spread = np.sqrt((share * (index - (share * index).sum()) ** 2).sum())
    assert found["bark_spread"] == pytest.approx(spread, rel=1e-3)


def test_mfcc_equals_the_cosine_transform_of_mel_bands_in_db() -> None:
    edges_mel = np.linspace(0, 1127 * np.log1p(11_000 / 700), 42)
    bins_mel = 1127 * np.log1p(BINS_HZ / 700)[:, None]
    step_mel = edges_mel[1]
    triangles = np.clip(np.minimum(bins_mel - edges_mel[:-2], edges_mel[2:] - bins_mel) / step_mel, 0, None)
    bands = spectrum_of(noise()) ** 2 @ (triangles / triangles.sum(axis=0))
    expected = dct(db(bands), type=2, norm="ortho")[:13]
    found = describe(noise())
    np.testing.assert_allclose([found[f"mfcc_{i}"] for i in range(13)], expected, atol=0.02)


def test_gfcc_equals_the_cosine_transform_of_gammatone_bands_in_db() -> None:
    bands = es.ERBBands(
        sampleRate=SAMPLE_RATE_HZ, numberBands=40, lowFrequencyBound=40, highFrequencyBound=22_050, inputSize=1025
    )(spectrum_of(noise()).astype(np.float32))
    expected = dct(db(bands), type=2, norm="ortho")[:13]
    found = describe(noise())
    np.testing.assert_allclose([found[f"gfcc_{i}"] for i in range(13)], expected, atol=0.02)


def test_a_change_of_level_moves_the_levels_and_nothing_else() -> None:
    loud, quiet = describe(noise()), describe(0.1 * noise())
    shift_db = {"mfcc_0": 20 * np.sqrt(40), "gfcc_0": 20 * np.sqrt(40), "spectral_flux": 20, "hfc": 20, "rms": 20}
    shift_db |= {f"bark_{i}": 20 for i in range(27)}
    for name in NAMES:
        if name == "loudness":
            assert loud[name] / quiet[name] == pytest.approx(100**0.67, rel=1e-3)
        else:
            # Tolerance of MFCC and GFCC: sums of forty float32 values near -50.
            assert loud[name] - quiet[name] == pytest.approx(shift_db.get(name, 0), abs=5e-3), name


def test_flux_of_a_steady_sound_is_at_the_floor_and_of_the_first_frame_is_to_silence() -> None:
    steady = sine(1000.0)  # 25 whole cycles a hop
    assert describe(steady)["spectral_flux"] < -90  # float32 sines of different phase differ by their rounding
    first_frame = np.concatenate([np.zeros(FRAME_LENGTH // 2), steady[: FRAME_LENGTH // 2]])
    expected = 20 * np.log10(np.linalg.norm(spectrum_of(np.pad(first_frame, 1376), MIDDLE)))
    assert describe(steady, frame=0)["spectral_flux"] == pytest.approx(expected, abs=1e-3)


def test_flatness_tells_noise_from_a_sine() -> None:
    assert describe(noise())["spectral_flatness"] > -2
    assert describe(sine(1000.0))["spectral_flatness"] < -40


@pytest.mark.parametrize("n_sines", [1, 4, 9])
def test_complexity_counts_the_peaks(n_sines: int) -> None:
    assert describe(tone(500.0, [1.0] * n_sines))["spectral_complexity"] == n_sines


def test_a_narrow_peak_is_stronger_than_a_wide_one() -> None:
    # The width is a ratio of frequencies, so that the same three bins are narrower higher up.
    assert describe(sine(4000.0))["strong_peak"] > describe(sine(1000.0))["strong_peak"] + 0.5


def test_contrast_stands_out_in_the_band_of_a_tone() -> None:
    tones_hz = np.geomspace(60, 10_000, 40)
    loudest = []
    for frequency_hz in tones_hz:
        found = describe(sine(frequency_hz) + 0.01 * noise())
        loudest.append(int(np.argmax([found[f"spectral_contrast_{i}"] for i in range(6)])))
    assert loudest == sorted(loudest)
    assert set(loudest) == set(range(6))


def test_valleys_lie_deeper_between_partials_than_in_noise() -> None:
    partials, hiss = describe(tone(200.0, [1.0] * 50)), describe(noise())
    for i in range(1, 6):  # band 0 is too narrow at the bottom to hold a valley and a peak
        assert partials[f"spectral_valley_{i}"] < hiss[f"spectral_valley_{i}"] - 10


def test_dissonance_is_high_for_beating_tones_and_none_for_one() -> None:
    assert describe(sine(1000.0))["dissonance"] == 0
    octave = describe(sine(1000.0) + sine(2000.0))["dissonance"]
    beating = describe(sine(1000.0) + sine(1090.0))["dissonance"]
    assert beating > octave + 0.2


def test_pitch_confidence_and_salience_tell_tones_from_noise_and_pure_tones() -> None:
    sawtooth = describe(tone(300.0, [1 / k for k in range(1, 21)]))
    assert sawtooth["pitch_confidence"] > 0.9
    assert describe(noise())["pitch_confidence"] < 0.5
    assert sawtooth["pitch_salience"] > describe(sine(1000.0))["pitch_salience"] + 0.3


def test_tristimulus_of_a_known_sum_of_partials() -> None:
    amplitudes = 1 / np.arange(1, 21)
    found = describe(tone(300.0, amplitudes.tolist()))
    shares = amplitudes / amplitudes.sum()
    # Peak heights between bins are a parabola's guess, good to a few per cent.
    assert found["tristimulus_1"] == pytest.approx(shares[0], abs=0.02)
    assert found["tristimulus_2"] == pytest.approx(shares[1:4].sum(), abs=0.02)
    assert found["tristimulus_3"] == pytest.approx(shares[4:].sum(), abs=0.02)


def test_odd_to_even_of_known_partials() -> None:
    assert describe(tone(440.0, [1.0, 0.5]))["odd_to_even"] == pytest.approx(20 * np.log10(2), abs=0.3)
    assert describe(square())["odd_to_even"] > 25
    assert describe(sine(1000.0))["odd_to_even"] == 60  # no even partial at all


def test_inharmonicity_grows_with_stretched_partials() -> None:
    stretched = sum(sine(300.0 * k * np.sqrt(1 + 0.002 * k**2)) for k in range(1, 9))
    assert describe(tone(300.0, [1.0] * 8))["inharmonicity"] < 0.005
    assert describe(0.1 * stretched)["inharmonicity"] > 0.015


def test_harmonic_share_is_the_part_of_the_energy_in_partials() -> None:
    amplitudes = 1 / np.arange(1, 11)
    sawtooth = tone(300.0, amplitudes.tolist())
    assert describe(sawtooth)["harmonic_share"] == pytest.approx(1, abs=1e-3)
    with_stranger = describe(sawtooth + 0.2 * sine(11.5 * 300.0, 0.5))  # midway between two multiples of f0
    energy = (amplitudes**2).sum()
    assert with_stranger["harmonic_share"] == pytest.approx(energy / (energy + 0.5**2), abs=0.01)


def test_unvoiced_frames_have_the_stated_values() -> None:
    found = describe(noise())
    for name in ("inharmonicity", "tristimulus_1", "tristimulus_2", "tristimulus_3", "odd_to_even", "harmonic_share"):
        assert found[name] == 0


def test_zero_crossing_rate_of_a_sine_is_twice_its_frequency() -> None:
    found = describe(np.sin(2 * np.pi * 1000 * TIME_S + 0.1))
    assert found["zero_crossing_rate"] == pytest.approx(2 * 1000 / SAMPLE_RATE_HZ, abs=1 / FRAME_LENGTH)


def test_temporal_descriptors_equal_closed_forms() -> None:
    wave = describe(sine(1000.0, 0.5))
    assert wave["rms"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.02)
    assert wave["crest_factor"] == pytest.approx(20 * np.log10(np.sqrt(2)), abs=0.02)
    assert wave["amplitude_kurtosis"] == pytest.approx(np.log10(1.5), abs=0.005)
    assert wave["loudness"] == pytest.approx((frame_of(sine(1000.0, 0.5)) ** 2).sum() ** 0.67, rel=1e-3)
    for name in ("rms", "crest_factor", "amplitude_kurtosis"):
        assert describe(square())[name] == pytest.approx(0, abs=1e-6)
    assert describe(click())["amplitude_kurtosis"] == pytest.approx(np.log10(FRAME_LENGTH), abs=1e-6)
