"""The conditions of robustness: each its own name, the clean one first, one noise at every level."""

import numpy as np
import pytest

from pipeline.conditions import CLEAN, SNRS_DB, make_conditions

RATE = 16_000
CLIP = (0.3 * np.sin(np.arange(8_000) / 7)).astype(np.float32)
NOISE = np.random.default_rng(0).standard_normal(500).astype(np.float32)


def apply_all(clip_id="a", seed=0):
    return {each.name: each.apply(CLIP, RATE, clip_id, seed, NOISE) for each in make_conditions()}


def test_every_condition_but_the_clean_one_changes_the_clip_and_keeps_its_length():
    heard = apply_all()
    assert len(heard) == 11
    assert next(iter(heard)) == CLEAN
    for name, copy in heard.items():
        assert (copy.dtype, copy.shape) == (np.float32, CLIP.shape)
        assert np.array_equal(copy, CLIP) == (name == CLEAN)


@pytest.mark.parametrize("family", ["white noise", "recorded noise"])
def test_the_noise_of_a_clip_is_the_same_at_every_level(family):
    heard = apply_all()
    loudest, *softer = (heard[f"{family}, {snr_db} dB"] - CLIP for snr_db in sorted(SNRS_DB))
    for noise, snr_db in zip(softer, sorted(SNRS_DB)[1:], strict=True):
        np.testing.assert_allclose(noise * 10 ** (snr_db / 20), loudest, atol=1e-5)


def test_what_is_drawn_depends_on_clip_and_seed_alone():
    first = apply_all()
    for name, copy in apply_all().items():
        np.testing.assert_array_equal(copy, first[name])
    for other in (apply_all(clip_id="b"), apply_all(seed=1)):
        assert {name for name in first if not np.array_equal(first[name], other[name])} == {
            f"white noise, {snr_db} dB" for snr_db in SNRS_DB
        }


def test_without_recordings_to_mix_in_the_others_are_left():
    left = make_conditions(with_noise=False)
    assert len(left) == 8
    assert not any(each.needs_noise for each in left)
