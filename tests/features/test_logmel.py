"""The spectrogram is compared with librosa's own, and with one that is made frame by frame."""

from pathlib import Path

import librosa.filters
import numpy as np
import pytest
import scipy.signal

from features.logmel import LogMel, logmel_spec
from storage_schema.errors import InputError


@pytest.fixture(scope="module")
def extractor():
    return LogMel(logmel_spec())


def logmel_as_defined(clip, hop, n_mels):
    """One frame after another: librosa's filters on the power of the 1,024 samples around it, silence past the ends."""
    padded = np.pad(clip.astype(np.float64), 512)
    window = scipy.signal.get_window("hann", 1024)
    power = [np.abs(np.fft.fft(padded[i : i + 1024] * window)[:513]) ** 2 for i in range(0, len(clip) + 1, hop)]
    mel = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=n_mels)
    return 10 * np.log10(np.maximum(np.array(power) @ mel.T, 1e-10))


def sweep():
    """Half a second from 50 Hz to 7 kHz over a little noise."""
    t = np.arange(8_000) / 16_000
    noise = np.random.default_rng(0).normal(0, 1e-3, len(t))
    return (0.5 * np.sin(2 * np.pi * (50 * t + 6_950 * t**2)) + noise).astype(np.float32)


def test_logmel_equals_librosa_s(extractor):
    # Of librosa 0.11.0: power_to_db(feature.melspectrogram(y=sweep(), sr=16_000, n_fft=1024, hop_length=400, n_mels=64,
    # pad_mode="constant"), top_db=None).T; calling it here costs half a minute, in which numba compiles.
    expected = np.load(Path(__file__).parents[1] / "golden" / "librosa_logmel.npy", allow_pickle=False)
    assert expected.shape == (21, 64)
    found = extractor.extract([sweep()])[0]["logmel"].astype(np.float32)
    np.testing.assert_allclose(found, expected, atol=1 / 16)
    np.testing.assert_allclose(logmel_as_defined(sweep(), 400, 64), expected, atol=1e-2)


def test_logmel_is_as_defined_on_real_recordings(extractor, recordings):
    for clip in recordings(16_000):
        found = extractor.extract([clip])[0]["logmel"].astype(np.float32)
        # float16 keeps 1/32 dB between 32 and 64 dB, and 1/16 dB beyond
        np.testing.assert_allclose(found, logmel_as_defined(clip, 400, 64), atol=1 / 16)


def test_hop_and_number_of_mels_are_those_asked_for(recordings):
    clip = recordings(16_000)[0][:16_000]
    found = LogMel(logmel_spec(hop=160, n_mels=40)).extract([clip])[0]["logmel"].astype(np.float32)
    np.testing.assert_allclose(found, logmel_as_defined(clip, 160, 40), atol=1 / 16)


def test_a_clip_longer_than_a_block_has_no_seams(extractor):
    clip = np.random.default_rng(0).normal(0, 0.1, 1_200 * 400).astype(np.float32)
    found = extractor.extract([clip])[0]["logmel"].astype(np.float32)
    np.testing.assert_allclose(found, logmel_as_defined(clip, 400, 64), atol=1 / 16)


def test_silence_lies_at_the_floor(extractor):
    assert (extractor.extract([np.zeros(4_000, np.float32)])[0]["logmel"] == -100).all()


def test_a_tone_is_loudest_in_the_band_that_holds_it(extractor):
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    band = extractor.extract([tone])[0]["logmel"][5:-5].argmax(axis=1)
    centres_hz = librosa.mel_frequencies(66, fmin=0, fmax=8_000)[1:-1]
    assert set(band) == {np.abs(centres_hz - 1_000).argmin()}


@pytest.mark.parametrize("n_mels", [0, 129, 64.0, True])
def test_a_number_of_mels_that_leaves_bands_empty_is_refused(n_mels):
    with pytest.raises(InputError, match="1 to 128"):
        logmel_spec(n_mels=n_mels)
