"""The timbre stream as a whole: its spec, its conventions, and clips cut in blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.timbre import essentia
from features.timbre.descriptors import DESCRIPTORS, FLOOR_DB
from features.timbre.essentia import EssentiaTimbre
from features.timbre.spec import SAMPLE_RATE_HZ, timbre_spec
from storage_schema.errors import InputError
from tests.features import plain_timbre

SPEC = timbre_spec()
EXTRACTOR = EssentiaTimbre(SPEC)
NAMES = [descriptor.name for descriptor in DESCRIPTORS]
HOP = SPEC.grid.hop


def describe(signal: np.ndarray) -> np.ndarray:
    waveform = signal.astype(np.float32)
    found = EXTRACTOR.extract([waveform])[0]
    SPEC.check(found, len(waveform))
    return found["descriptors"]


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal(n_samples)


def test_every_value_is_that_of_the_plain_loop_over_essentia(recordings) -> None:  # type: ignore[no-untyped-def]
    clips = [clip[:SAMPLE_RATE_HZ] for clip in recordings(SAMPLE_RATE_HZ)] + [noise(SAMPLE_RATE_HZ // 2)]
    clips.append(np.sign(np.sin(np.arange(SAMPLE_RATE_HZ // 4) / 9)))
    plain = plain_timbre.make_algorithms()
    found = np.concatenate([describe(clip) for clip in clips])
    expected = np.concatenate(
        [plain_timbre.describe_waveform(clip.astype(np.float32), SPEC.grid, plain) for clip in clips]
    )
    rolloff = NAMES.index("spectral_rolloff")
    moved = np.abs(found[:, rolloff] - expected[:, rolloff])  # by one bin, where the sums meet the share in rounding
    assert moved.max() <= SAMPLE_RATE_HZ / 2048
    assert (moved > 0).mean() < 0.01
    others = np.arange(len(NAMES)) != rolloff
    # Essentia adds up in float32: 2e-5 of a value was the most that was found, and 3e-4 dB of a coefficient.
    np.testing.assert_allclose(found[:, others], expected[:, others], rtol=2e-5, atol=5e-4)


def test_the_spec_names_every_channel_once_with_a_unit() -> None:
    channels = SPEC.array("descriptors").channels
    assert len({channel.name for channel in channels}) == len(channels) == 95
    assert all(channel.unit for channel in channels)
    assert [channel.name for channel in channels] == NAMES


def test_the_hop_changes_the_fingerprint() -> None:
    assert timbre_spec(hop=480).fingerprint != SPEC.fingerprint


@pytest.mark.parametrize("hop", [0, -1, 1.5, "1200", True])
def test_the_spec_refuses_a_hop_that_is_no_number_of_samples(hop: object) -> None:
    with pytest.raises(InputError, match="hop"):
        timbre_spec(hop=hop)  # type: ignore[arg-type]


def test_silence_has_the_silent_value_of_every_descriptor() -> None:
    silent = np.array([descriptor.silent for descriptor in DESCRIPTORS], dtype=np.float32)
    np.testing.assert_array_equal(describe(np.zeros(3 * HOP)), np.tile(silent, (4, 1)))


def test_flux_tells_of_a_sound_that_ended() -> None:
    rows = describe(np.concatenate([noise(4 * HOP), np.zeros(4 * HOP)]))
    flux_db = rows[:, NAMES.index("spectral_flux")]
    rms_db = rows[:, NAMES.index("rms")]
    first_silent = int(np.argmax(rms_db == FLOOR_DB))
    assert flux_db[first_silent] > -60
    assert flux_db[first_silent + 1] == FLOOR_DB


@pytest.mark.parametrize(
    "signal",
    [
        np.ones(1),
        np.full(1, 1e-30),
        np.ones(HOP - 1),
        np.where(np.sin(np.arange(2 * HOP) / 17) >= 0, 1.0, -1.0),
        np.tile([1.0, -1.0], HOP),
        np.full(HOP, 1e-42),
        1e6 * noise(HOP),
        np.where(np.arange(2 * HOP) % 2 == 0, 0.0, 1e-5),
    ],
    ids=["one sample", "one faint sample", "DC", "square", "Nyquist", "denormal", "far too loud", "at the floor"],
)
def test_every_value_is_finite_on_odd_signals(signal: np.ndarray) -> None:
    describe(signal)  # the spec's own check refuses NaN and infinity


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, st.integers(1, 2 * HOP), elements=st.floats(-1, 1, width=32)))
def test_every_value_is_finite_on_any_signal(signal: np.ndarray) -> None:
    rows = describe(signal)
    bounded = [i for i, descriptor in enumerate(DESCRIPTORS) if descriptor.unit in ("dB", "1", "log10")]
    assert np.abs(rows[:, bounded]).max() < 1000  # of what a network is fed, nothing is beyond reach


def test_a_clip_in_blocks_equals_the_clip_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = noise(20 * HOP + 7)
    whole = describe(signal)
    for block in (1, 3, 21):
        monkeypatch.setattr(essentia, "BLOCK_FRAMES", block)
        np.testing.assert_array_equal(describe(signal), whole)


def test_a_frame_depends_on_its_own_samples_and_on_the_frame_before() -> None:
    signal = noise(12 * HOP)
    later = describe(signal[4 * HOP :])
    # Frame 0 of the piece misses the samples before it; frame 1 has all of its own, but its flux looks at frame 0.
    np.testing.assert_array_equal(later[2:], describe(signal)[6:])


def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    clips = [noise(5 * HOP, seed).astype(np.float32) for seed in range(3)]
    together = EXTRACTOR.extract(clips)
    for clip, found in zip(reversed(clips), reversed(together), strict=True):
        np.testing.assert_array_equal(EXTRACTOR.extract([clip])[0]["descriptors"], found["descriptors"])


def test_the_waveform_is_left_as_it_was() -> None:
    waveform = noise(3 * HOP).astype(np.float32)
    before = waveform.copy()
    EXTRACTOR.extract([waveform])
    np.testing.assert_array_equal(waveform, before)
