import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.waveform import WaveformFrames, waveform_spec
from storage_schema.errors import InputError


@given(n_samples=st.integers(1, 5_000), hop=st.integers(1, 700))
def test_frames_laid_end_to_end_are_the_clip_to_half_a_step(n_samples, hop):
    clip = np.random.default_rng(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    spec = waveform_spec(hop)
    samples = WaveformFrames(spec).extract([clip])[0]["samples"].reshape(-1)
    assert np.abs(samples[:n_samples] * spec.array("samples").scale - clip).max() <= 0.5 / 32_767 + 1e-7
    assert not samples[n_samples:].any()
    assert len(samples) - n_samples < hop


def test_samples_beyond_full_scale_are_clipped_and_do_not_wrap_around():
    clip = np.array([1.0, -1.0, 1.5, -7.0, 1e30, 0.0], np.float32)
    samples = WaveformFrames(waveform_spec(6)).extract([clip])[0]["samples"]
    assert samples.tolist() == [[32_767, -32_767, 32_767, -32_767, 32_767, 0]]


def test_a_hop_of_no_samples_is_refused():
    with pytest.raises(InputError, match="hop"):
        waveform_spec(0)
