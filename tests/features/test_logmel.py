"""The spectrogram is compared with librosa's own, made in one piece."""

import librosa
import numpy as np
import pytest

from features.logmel import LogMel, logmel_spec
from storage_schema.errors import InputError


@pytest.fixture(scope="module")
def extractor():
    return LogMel(logmel_spec())


def librosas_logmel(clip, hop, n_mels):
    power = librosa.feature.melspectrogram(
        y=clip, sr=16_000, n_fft=1024, hop_length=hop, n_mels=n_mels, center=True, pad_mode="constant"
    )
    return librosa.power_to_db(power, top_db=None).T


def test_logmel_equals_librosa_s_on_real_recordings(extractor, recordings):
    for clip in recordings(16_000):
        found = extractor.extract([clip])[0]["logmel"].astype(np.float32)
        # float16 keeps 1/32 dB between 32 and 64 dB, and 1/16 dB beyond
        np.testing.assert_allclose(found, librosas_logmel(clip, 400, 64), atol=1 / 16)


def test_hop_and_number_of_mels_are_those_asked_for(recordings):
    clip = recordings(16_000)[0][:16_000]
    found = LogMel(logmel_spec(hop=160, n_mels=40)).extract([clip])[0]["logmel"].astype(np.float32)
    np.testing.assert_allclose(found, librosas_logmel(clip, 160, 40), atol=1 / 16)


def test_a_clip_longer_than_a_block_has_no_seams(extractor):
    clip = np.random.default_rng(0).normal(0, 0.1, 1_200 * 400).astype(np.float32)
    found = extractor.extract([clip])[0]["logmel"].astype(np.float32)
    np.testing.assert_allclose(found, librosas_logmel(clip, 400, 64), atol=1 / 16)


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
