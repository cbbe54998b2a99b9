import numpy as np
import pytest
import torch

from training.encoders import StreamEncoder, group, mel_quadrature_filters, n_parameters, pool, positions
from training.inputs import EncoderShape, Normalisation

EMBEDDED = EncoderShape(
    n_channels=6, n_labels=3, is_waveform=False, is_embedding=True, merge=1, dim=64, layers=2, heads=4
)
LINEAR = EncoderShape(
    n_channels=6, n_labels=3, is_waveform=False, is_embedding=False, merge=1, dim=64, layers=2, heads=4
)
SAMPLES = EncoderShape(
    n_channels=400, n_labels=3, is_waveform=True, is_embedding=False, merge=1, dim=64, layers=2, heads=4
)
MERGED = EncoderShape(
    n_channels=6, n_labels=3, is_waveform=False, is_embedding=False, merge=4, dim=64, layers=2, heads=4
)


def inputs_for(shape: EncoderShape, n_tokens: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, n_tokens, shape.n_channels, generator=generator)
    return inputs, torch.ones(2, n_tokens, dtype=torch.bool), torch.arange(n_tokens).repeat(2, 1) / 40


@pytest.mark.parametrize("shape", [LINEAR, SAMPLES, MERGED, EMBEDDED], ids=["linear", "waveform", "merged", "embedded"])
def test_padding_changes_nothing(shape: EncoderShape) -> None:
    encoder = StreamEncoder(shape).eval()
    inputs, mask, times_s = inputs_for(shape)
    mask[0, 6:] = False
    whole = encoder(inputs, mask, times_s)
    inputs[0, 6:] = 1e3
    times_s[0, 6:] = 77
    torch.testing.assert_close(encoder(inputs, mask, times_s), whole)
    alone = encoder(inputs[:1, :6], mask[:1, :6], times_s[:1, :6])
    torch.testing.assert_close(alone, whole[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [LINEAR, SAMPLES, MERGED, EMBEDDED], ids=["linear", "waveform", "merged", "embedded"])
def test_an_encoder_has_a_64_dimensional_embedding_and_few_parameters(shape: EncoderShape) -> None:
    encoder = StreamEncoder(shape)
    assert encoder.embedding(*inputs_for(shape)).shape == (2, 64)
    assert encoder(*inputs_for(shape)).shape == (2, 3)
    assert 50_000 < n_parameters(encoder) < 300_000


def test_the_order_of_tokens_matters_only_through_their_times() -> None:
    encoder = StreamEncoder(LINEAR).eval()
    inputs, mask, times_s = inputs_for(LINEAR)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    moved = encoder(inputs[:, order], mask, times_s[:, order])
    torch.testing.assert_close(moved, encoder(inputs, mask, times_s), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(encoder(inputs[:, order], mask, times_s), moved, atol=1e-4)


def test_normalisation_is_part_of_the_encoder() -> None:
    plain, shifted = StreamEncoder(LINEAR).eval(), StreamEncoder(LINEAR).eval()
    shifted.load_state_dict(plain.state_dict())
    shifted.tokenize.set_normalisation(Normalisation(np.full(6, 5, np.float32), np.full(6, 2, np.float32)))
    inputs, mask, times_s = inputs_for(LINEAR)
    torch.testing.assert_close(shifted(inputs * 2 + 5, mask, times_s), plain(inputs, mask, times_s))


def test_pooling_is_mean_and_standard_deviation_of_what_exists() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [99.0]]])
    pooled = pool(tokens, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 1.0]]), atol=1e-4, rtol=0)


def test_merging_puts_neighbours_side_by_side_at_their_mean_time() -> None:
    tokens, mask = torch.arange(1.0, 6.0).view(1, 5, 1), torch.tensor([[True, True, True, True, False]])
    grouped, present, times_s = group(tokens, mask, torch.arange(5.0)[None], 2)
    assert grouped.tolist() == [[[1, 2], [3, 4], [0, 0]]]
    assert present.tolist() == [[True, True, False]]
    assert times_s.tolist() == [[0.5, 2.5, 0]]


def test_positions_tell_25_ms_apart() -> None:
    times = positions(torch.arange(80) / 40, 64)
    distances = torch.cdist(times, times) + 9 * torch.eye(80)
    assert distances.min() > 0.5


def test_waveform_filters_start_at_the_frequency_they_are_named_for() -> None:
    filters = mel_quadrature_filters(64, 160)[:, 0]
    spectrum = torch.fft.rfft(filters, n=16_000).abs()
    peaks = spectrum[:64].argmax(dim=1)
    top = 2595 * np.log10(1 + 7600 / 700)
    expected = 700 * (10 ** (np.linspace(top / 64, top, 64) / 2595) - 1)
    np.testing.assert_allclose(peaks[3:].numpy(), expected[3:], atol=15)
