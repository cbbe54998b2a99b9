"""The log-mel front end of aiSFX, against Essentia's algorithms and against closed forms."""

import essentia
import numpy as np
import pytest

from features.neural.spectrogram import FRAME_LENGTH, LARGEST_TRAINING_VALUE, log_mel_frames, mel_filters

essentia.log.infoActive = False

import essentia.standard as es  # noqa: E402 - silenced first

RATE_HZ = 44_100


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(n_samples)).clip(-1, 1).astype(np.float32)


def test_mel_filters_equal_those_of_essentia() -> None:
    mel_bands = es.MelBands(
        inputSize=1025, numberBands=96, sampleRate=RATE_HZ, lowFrequencyBound=0, highFrequencyBound=RATE_HZ / 2
    )
    theirs = np.stack([mel_bands(one_bin) for one_bin in np.eye(1025, dtype=np.float32)])
    # Essentia interpolates in float32, where the position of a bin near 7,000 Hz is good to about 1e-6 of a triangle.
    np.testing.assert_allclose(mel_filters(), theirs, atol=2e-6)


def test_every_mel_filter_sums_to_one() -> None:
    np.testing.assert_allclose(mel_filters().sum(axis=0), 1, atol=1e-6)


def test_silence_is_exactly_zero() -> None:
    assert not log_mel_frames(np.zeros(5000, dtype=np.float32), 0, 10).any()


def test_frames_past_the_end_are_exactly_zero() -> None:
    frames = log_mel_frames(noise(1024), 0, 6)
    assert frames[:2].all()  # they are centred on the first sample and on the end
    assert not frames[2:].any()


def test_first_frame_is_centred_on_the_first_sample() -> None:
    click = np.zeros(2048, dtype=np.float32)
    click[0] = 1
    window = np.hanning(FRAME_LENGTH)[FRAME_LENGTH // 2]  # a click's power is the same in all bins
    expected = np.log10(1e4 * window**2 + 1) / LARGEST_TRAINING_VALUE
    np.testing.assert_allclose(log_mel_frames(click, 0, 1), expected, rtol=1e-5)


@pytest.mark.parametrize("frequency_hz", [220.0, 1000.0, 9000.0])
def test_a_sine_peaks_in_the_triangle_of_its_frequency(frequency_hz: float) -> None:
    sine = np.sin(2 * np.pi * frequency_hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mel = 1127 * np.log1p(frequency_hz / 700)
    nearest_centre = round(mel / (1127 * np.log1p(RATE_HZ / 2 / 700)) * 97) - 1
    assert abs(int(log_mel_frames(sine, 20, 1)[0].argmax()) - nearest_centre) <= 1


def test_samples_beyond_full_scale_are_cut_as_the_published_loader_does() -> None:
    loud = 3 * noise(20_000)
    np.testing.assert_array_equal(log_mel_frames(loud, 0, 20), log_mel_frames(loud.clip(-1, 1), 0, 20))


def test_a_run_of_frames_equals_the_same_rows_of_all_frames() -> None:
    waveform = noise(150_000)
    whole = log_mel_frames(waveform, 0, 150)
    # A matrix product of other height may add in another order, so rounding of float32 is allowed for.
    np.testing.assert_allclose(log_mel_frames(waveform, 70, 50), whole[70:120], atol=1e-6)


def test_the_loudest_possible_sounds_stay_below_the_stated_bound() -> None:
    for waveform in (np.ones(RATE_HZ), np.sign(noise(RATE_HZ)), np.tile([1.0, -1.0], RATE_HZ)):
        assert log_mel_frames(waveform.astype(np.float32), 0, 40).max() < 1.1
