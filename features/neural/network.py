"""The aiSFX network: four blocks of two convolutions, folded with their batch normalisation, and a pooling.

Folding is exact but for rounding: at inference a batch normalisation is one factor and one shift a channel, which the
convolution before it can carry. The authors' classifier heads are left out; the embedding is what stands before them.
Source: `aisfx/models/cnn2d.py` of aisfx 0.1.2, EmbeddingNet("max", 3, 1, 64).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from storage_schema.errors import ContractError

BLOCK_CHANNELS = (64, 128, 256, 512)
POOLED_BLOCKS = 3
"""The first three blocks end with a max-pool of 2 by 2; that of the fourth is 1 by 1, which is none."""

BATCH_NORM_EPSILON = 1e-5
"""PyTorch's default, which the authors kept."""


@dataclass(frozen=True)
class Convolution:
    """A 3 by 3 convolution: weight (out, in, 3, 3), bias (out,)."""

    weight: Tensor
    bias: Tensor


def load_network(checkpoint: Path) -> tuple[Convolution, ...]:
    """The eight convolutions of the published checkpoint, in order.

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
    return fold_network(state)


def fold_network(state: Mapping[str, Tensor]) -> tuple[Convolution, ...]:
    """Fold each batch normalisation of `state` into the convolution before it; computed in float64, kept in float32.

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
            # Channels last is the order in which these convolutions run fastest: 37 against 43 ms a block, one thread.
            folded = folded.contiguous(memory_format=torch.channels_last)
            convolutions.append(Convolution(folded, (shift - factor * mean).float()))
            n_inputs = n_outputs
    return tuple(convolutions)


def embed_block(network: tuple[Convolution, ...], block: Tensor) -> Tensor:
    """The embedding of one block of log-mel frames: (100, 96) float32 to (512,) float32, no value negative.

    One block at a time on purpose: its bits then depend on nothing else, and a batch was measured to gain nothing.
    """
    with torch.inference_mode():
        x = block[None, None].contiguous(memory_format=torch.channels_last)  # (batch, channel, time, mel)
        for index, convolution in enumerate(network):
            x = F.conv2d(x, convolution.weight, convolution.bias, padding=1).relu_()
            ends_block = index % 2 == 1
            if ends_block and index // 2 < POOLED_BLOCKS:
                x = F.max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)[0]  # mean over frequency, then the maximum over time
