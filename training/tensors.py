"""Networks as named arrays and back, each array checked before a number of it is used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Tensors = dict[str, NDArray[Any]]


def network_tensors(network: nn.Module, prefix: str) -> Tensors:
    """The parameters and buffers of a network on the CPU, each under `prefix`/its name."""
    return {
        f"{prefix}/{name}": np.ascontiguousarray(value.detach().cpu().numpy())
        for name, value in network.state_dict().items()
    }


def fill(network: nn.Module, prefix: str, tensors: Mapping[str, NDArray[Any]]) -> set[str]:
    """Give `network` its tensors, in eval mode; the keys that were used. Raises ValueError where they do not fit."""
    keys = {name: f"{prefix}/{name}" for name in network.state_dict()}
    network.load_state_dict(
        {
            name: torch.from_numpy(checked_tensor(tensors, keys[name], tuple(wanted.shape)))
            for name, wanted in network.state_dict().items()
        }
    )
    network.eval()
    return set(keys.values())


def checked_tensor(tensors: Mapping[str, NDArray[Any]], key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The tensor `key`. Raises ValueError unless it is there, finite, and float32 of that shape."""
    if key not in tensors:
        raise ValueError(f"the tensor {key} is missing")
    found = tensors[key]
    if found.shape != shape or found.dtype != np.float32:
        raise ValueError(f"the tensor {key} is {found.dtype} {found.shape}, where float32 {shape} is called for")
    if not np.isfinite(found).all():
        raise ValueError(f"the tensor {key} has NaN or infinity in it")
    return found
