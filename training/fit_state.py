"""All that the rest of a fit depends on, taken after an epoch and put back, so that it goes on as if never stopped."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from training.results import EpochPoint
from training.tensors import Tensors

CURVES = TypeAdapter(dict[str, list[EpochPoint]])


@dataclass(frozen=True)
class FitState:
    """`n_epochs` of a fit are done. arrays: network, optimizer and torch's random state. text: the rest, as JSON."""

    n_epochs: int
    arrays: Tensors
    text: dict[str, str]


class EpochKeeper(Protocol):
    """Keeps the state of one fit where another process finds it."""

    def load(self) -> FitState | None:
        """The state kept last, None where there is none."""
        ...

    def is_due(self) -> bool:
        """Whether it is time to save again, which costs some."""
        ...

    def save(self, state: FitState) -> None:
        """Keep a state in place of the last one."""
        ...


def take_state(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: np.random.Generator,
    curves: Mapping[str, Sequence[EpochPoint]],
    n_epochs: int,
) -> FitState:
    """The state after `n_epochs`."""
    values: dict[str, Tensor] = {f"network/{name}": value for name, value in objective.state_dict().items()}
    for place, slots in optimizer.state_dict()["state"].items():
        values |= {f"optimizer/{place}/{slot}": value for slot, value in slots.items()}
    values["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        values["random/cuda"] = torch.cuda.get_rng_state()
    arrays = {name: np.array(value.detach().cpu().numpy()) for name, value in values.items()}
    points = {name: [point.model_dump() for point in curve] for name, curve in curves.items()}
    text = {"generator": json.dumps(generator.bit_generator.state), "curves": json.dumps(points)}
    return FitState(n_epochs, arrays, text)


def put_state(
    state: FitState, objective: nn.Module, optimizer: torch.optim.Optimizer, generator: np.random.Generator
) -> dict[str, list[EpochPoint]]:
    """Make the four what they were; the learning curves so far. Raises ValueError or KeyError where they do not fit."""
    values = {name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()}
    network = {name.removeprefix("network/"): value for name, value in values.items() if name.startswith("network/")}
    slots: dict[int, dict[str, Any]] = {}
    for name, value in values.items():
        if name.startswith("optimizer/"):
            _, place, slot = name.split("/")
            slots.setdefault(int(place), {})[slot] = value
    try:
        objective.load_state_dict(network)
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(values["random/cpu"])
        if "random/cuda" in values and torch.cuda.is_available():
            torch.cuda.set_rng_state(values["random/cuda"])
        generator.bit_generator.state = json.loads(state.text["generator"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"the state of an interrupted fit does not fit: {error}") from error
    return CURVES.validate_json(state.text["curves"])
