"""The aiSFX network: four blocks of two convolutions, folded with their batch normalisation, and a pooling.

Nearly all of its time is seven convolutions of 3 by 3, which are as fast as the machine can multiply; they are worked
out with a quarter of the multiplications (`winograd`). Layout is (block, time, mel, channel) throughout.

Folding is exact but for rounding: at inference a batch normalisation is one factor and one shift a channel, which the
convolution before it can carry. The authors' classifier heads are left out; the embedding is what stands before them.
Source: `aisfx/models/cnn2d.py` of aisfx 0.1.2, EmbeddingNet("max", 3, 1, 64).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from features.neural.winograd import WinogradConvolution, convolve_and_rectify, make_winograd
from storage_schema.errors import ContractError

BLOCK_CHANNELS = (64, 128, 256, 512)
"""The first three blocks end with a max-pool of 2 by 2; that of the fourth is 1 by 1, which is none."""

BLOCKS_PER_BATCH = 4
"""The last four layers have 70 MB of kernels and read them once a batch; 8 were measured to be no faster."""

_N_SINGLY = 3  # of the seven layers after the first
_TILES_OF_ONE, _TILES_OF_MANY = 160, 640  # what a second-level cache, and what a third-level one holds

BATCH_NORM_EPSILON = 1e-5
"""PyTorch's default, which the authors kept."""


@dataclass(frozen=True)
class Convolution:
    """A 3 by 3 convolution: weight (out, in, 3, 3), bias (out,)."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Network:
    """The first convolution, which has one channel to add up, and the seven others."""

    first: Convolution
    others: tuple[WinogradConvolution, ...]


def load_network(checkpoint: Path) -> Network:
    """The network of the published checkpoint, ready to be used.

    The checkpoint is a pair: the state dict, and class counts of the training sets that hold NumPy integers. Those
    alone are allowed beside tensors, so reading it runs no code of the file's choosing.
    """
    make_scalar = cast(Callable[..., Any], np.int64(0).__reduce__()[0])  # has no public name of its own
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (make_scalar, "numpy.core.multiarray.scalar"),  # its name in NumPy 1, where the file was written
        np.dtype,
        np.dtypes.Int64DType,
    ]
    with torch.serialization.safe_globals(allowed):
        state, _class_counts = torch.load(checkpoint, map_location="cpu", weights_only=True)
    first, *others = fold_network(state)
    return Network(first, tuple(make_winograd(each.weight, each.bias) for each in others))


def fold_network(state: Mapping[str, Tensor]) -> tuple[Convolution, ...]:
    """The eight convolutions, each with the batch normalisation after it; computed in float64, kept in float32.

    Raises ContractError where `state` is not that of the published network.
    """
    convolutions = []
    n_inputs = 1
    for block, n_outputs in enumerate(BLOCK_CHANNELS, start=1):
        for layer in (1, 2):
            prefix = f"embedding_net.conv_block{block}"
            try:
                weight = state[f"{prefix}.conv{layer}.weight"].double()
                gain, shift, mean, variance = (
                    state[f"{prefix}.bn{layer}.{name}"].double()
                    for name in ("weight", "bias", "running_mean", "running_var")
                )
            except KeyError as error:
                raise ContractError(f"the aiSFX weights were expected to hold {error}, and do not") from error
            if weight.shape != (n_outputs, n_inputs, 3, 3):
                raise ContractError(
                    f"{prefix}.conv{layer} of the aiSFX weights has the shape {tuple(weight.shape)}, but "
                    f"{(n_outputs, n_inputs, 3, 3)} was expected"
                )
            factor = gain / torch.sqrt(variance + BATCH_NORM_EPSILON)
            folded = (weight * factor[:, None, None, None]).float()
            convolutions.append(Convolution(folded, (shift - factor * mean).float()))
            n_inputs = n_outputs
    return tuple(convolutions)


def embed_blocks(network: Network, blocks: Tensor) -> Tensor:
    """The embeddings of blocks of log-mel frames: (n, 100, 96) float32 to (n, 512) float32, no value negative.

    The later half of the network always sees BLOCKS_PER_BATCH at once, zeros if need be: a block's bits then depend on
    nothing else.
    """
    with torch.inference_mode():
        embeddings = [_finish(network, list(batch)) for batch in torch.split(blocks, BLOCKS_PER_BATCH)]
        return torch.cat([torch.empty(0, BLOCK_CHANNELS[-1]), *embeddings])


def _finish(network: Network, blocks: Sequence[Tensor]) -> Tensor:
    """The embeddings of at most BLOCKS_PER_BATCH blocks."""
    halfway = [_begin(network, block) for block in blocks]
    halfway += [torch.zeros_like(halfway[0])] * (BLOCKS_PER_BATCH - len(blocks))
    x = torch.cat(halfway)
    for index, layer in enumerate(network.others[_N_SINGLY:]):
        x = convolve_and_rectify(layer, x, _TILES_OF_MANY)
        if index == 1:
            x = _halve(x)
    return x.mean(dim=2).amax(dim=1)[: len(blocks)]  # mean over frequency, then the maximum over time


def _begin(network: Network, block: Tensor) -> Tensor:
    """The first two blocks of convolutions on one block of frames, whose arrays are large: (1, 25, 24, 128)."""
    x = F.conv2d(block[None, None], network.first.weight, network.first.bias, padding=1).relu_()
    x = x.permute(0, 2, 3, 1).contiguous()  # (1, time, mel, channel)
    for index, layer in enumerate(network.others[:_N_SINGLY]):
        x = convolve_and_rectify(layer, x, _TILES_OF_ONE)
        if index in (0, 2):
            x = _halve(x)
    return x


def _halve(x: Tensor) -> Tensor:
    """The largest of each 2 by 2 neighbours."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
