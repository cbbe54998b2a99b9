"""Damage is what it says: the ratio of signal to noise, the spectrum left, the length and the place in time kept."""

import numpy as np
import pytest

from pipeline.perturb import add_noise, add_white_noise, apply_gain, generator_of, low_pass, through_vorbis

RATE = 44_100


def sine(frequency_hz, seconds=1.0, amplitude=0.5, rate=RATE):
    times = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def level_db(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_noise_lies_as_far_below_the_clip_as_was_asked(snr_db):
    clip = sine(440)
    white = add_white_noise(clip, snr_db, generator_of("a", "white"))
    recorded = add_noise(clip, sine(3_000, seconds=0.3, amplitude=0.01), snr_db)
    for noisy in (white, recorded):
        assert (noisy.dtype, noisy.shape) == (np.float32, clip.shape)
        assert level_db(clip) - level_db(noisy - clip) == pytest.approx(snr_db, abs=1e-3)


def test_short_noise_is_repeated_and_long_noise_cut():
    clip = np.ones(5, np.float32)
    np.testing.assert_allclose(add_noise(clip, np.array([1, -1], np.float32), 0) - 1, [1, -1, 1, -1, 1], atol=1e-6)
    assert add_noise(clip, np.ones(50, np.float32), 0).shape == (5,)


def test_silence_stays_silent_and_is_no_noise():
    silence = np.zeros(100, np.float32)
    assert not add_white_noise(silence, 0, generator_of("a", "white")).any()
    with pytest.raises(ValueError, match="the noise is silent"):
        add_noise(sine(440), silence, 0)


def test_a_clip_is_damaged_alike_every_time_and_otherwise_than_another():
    clip = sine(440, 0.1)
    first = add_white_noise(clip, 10, generator_of("a", "white"))
    np.testing.assert_array_equal(first, add_white_noise(clip, 10, generator_of("a", "white")))
    for other in (("b", "white"), ("a", "grey")):
        assert not np.array_equal(first, add_white_noise(clip, 10, generator_of(*other)))


def test_gain_is_in_decibels_and_clips():
    assert level_db(apply_gain(sine(440), -20)) == pytest.approx(level_db(sine(440)) - 20, abs=1e-3)
    loud = apply_gain(sine(440, amplitude=0.9), 6)
    assert loud.dtype == np.float32
    assert (loud.max(), loud.min()) == (1, -1)


def test_the_low_pass_keeps_what_is_below_and_takes_what_is_above():
    kept = low_pass(sine(1_000), RATE)
    np.testing.assert_allclose(kept[2_000:-2_000], sine(1_000)[2_000:-2_000], atol=1e-3)  # and delays nothing
    gone = low_pass(sine(5_600), RATE)[2_000:-2_000]
    assert level_db(gone) < level_db(sine(5_600)) - 40
    assert (kept.dtype, kept.shape) == (np.float32, (RATE,))
    half = low_pass(sine(4_000), RATE)[2_000:-2_000]
    assert level_db(half) == pytest.approx(level_db(sine(4_000)) - 6.02, abs=0.05)


def test_the_low_pass_takes_clips_of_one_sample_and_leaves_low_rates_alone():
    for n in (1, 2, 30):
        assert low_pass(np.ones(n, np.float32), RATE).shape == (n,)
    clip = sine(1_000, rate=8_000)
    assert low_pass(clip, 8_000) is clip


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 200_000])
def test_vorbis_keeps_length_and_place_and_changes_the_samples(rate):
    clip = sine(500, 1.5, rate=rate) + sine(3_100, 1.5, 0.05, rate=rate)
    heard = through_vorbis(clip, rate)
    assert (heard.dtype, heard.shape) == (np.float32, clip.shape)
    assert not np.array_equal(heard, clip)
    likeness = np.correlate(heard, clip[200:-200], "valid")
    assert int(likeness.argmax()) == 200
    assert np.corrcoef(heard, clip)[0, 1] > 0.97


def test_vorbis_takes_minutes_clicks_and_too_loud_samples_and_refuses_rates_that_crash_it():
    assert through_vorbis(np.zeros(180 * 16_000, np.float32), 16_000).shape == (180 * 16_000,)
    assert through_vorbis(np.ones(1, np.float32), RATE).shape == (1,)
    assert np.abs(through_vorbis(sine(440, amplitude=4), RATE)).max() < 1.5
    with pytest.raises(ValueError, match="up to 200,000 Hz, and this is at 384,000 Hz"):
        through_vorbis(sine(440), 384_000)
