"""What an interrupted run has done so far: every finished fit, and of a long one the state of a recent epoch.

    <store>/.scratch/<run_id>.unfinished/run.json, <job>.safetensors, <job>-epoch.safetensors

`timbrel train --resume` finds it by the recipe, and goes on with the snapshot and the very features it began with. A
file that is torn or changed is not believed: its fit is done again.
"""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage_schema.errors import InputError
from storage_schema.shelf import Shelf, shelves
from storage_schema.store import Store
from training.fit_state import FitState
from training.jobs import FitJob, FitOutcome, outcome_from_file, outcome_to_file
from training.recipe import Recipe, recipe_to_toml
from training.results import Provenance
from training.sealed import blake2b, sealed, unsealed
from training.tensors import Tensors

DOCUMENT = "run.json"
SAVE_EVERY_S = 30.0
"""How often a fit's state is kept: what an interruption costs at most, beside the epoch under way."""

_HASH = "blake2b"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    provenance: Provenance


@dataclass(frozen=True)
class Unfinished:
    """A run that has begun and not ended."""

    shelf: Shelf
    provenance: Provenance

    @property
    def run_id(self) -> str:
        return self.shelf.name

    def outcome(self, job: FitJob) -> FitOutcome | None:
        """What a finished fit gave; None where it is still to be done."""
        found = _read(self.shelf, _name(job))
        try:
            return outcome_from_file(*found) if found else None
        except (KeyError, ValueError):
            return None

    def keep(self, job: FitJob, outcome: FitOutcome) -> None:
        """Put a fit's outcome where `outcome` finds it. Raises StoreError where the disk does not take it."""
        _write(self.shelf, _name(job), *outcome_to_file(outcome))
        self.shelf.remove(f"{_name(job)}-epoch")

    def keeper(self, job: FitJob, every_s: float = SAVE_EVERY_S) -> "ShelfKeeper":
        """Keeps the state of the fit `job` itself."""
        return ShelfKeeper(self.shelf, f"{_name(job)}-epoch", every_s)

    def remove(self) -> None:
        """Forget all of it, once the run is finished."""
        self.shelf.remove()


@dataclass
class ShelfKeeper:
    """Keeps the state of one fit on a shelf, at most every `every_s` seconds."""

    shelf: Shelf
    name: str
    every_s: float
    _saved_at: float = field(default_factory=time.monotonic)

    def load(self) -> FitState | None:
        found = _read(self.shelf, self.name)
        if found is None or not found[1].get("n_epochs", "").isdecimal():
            return None
        arrays, text = found
        return FitState(int(text["n_epochs"]), arrays, text)

    def is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.every_s

    def save(self, state: FitState) -> None:
        _write(self.shelf, self.name, state.arrays, state.text | {"n_epochs": str(state.n_epochs)})
        self._saved_at = time.monotonic()


def begin(store: Store, run_id: str, provenance: Provenance) -> Unfinished:
    """A run of its own, nothing of which is done."""
    shelf = Shelf(store.files, run_id)
    shelf.remove()
    document = _Document(provenance=provenance)
    shelf.write(DOCUMENT, sealed(document.model_dump(mode="json")))
    return Unfinished(shelf, provenance)


def find_unfinished(store: Store, recipe: Recipe, versions: dict[str, str]) -> Unfinished:
    """The run of `recipe` that was begun last and not ended.

    Raises InputError where there is none, and where it was begun with other libraries, whose figures would mix.
    """
    asked, begun = recipe_to_toml(recipe), []
    for shelf in shelves(store.files):
        try:
            document = _Document.model_validate(unsealed(shelf.read(DOCUMENT) or b""))
        except (ValidationError, ValueError):
            continue
        if document.provenance.recipe == asked and not store.has_run(shelf.name):
            begun.append(Unfinished(shelf, document.provenance))
    if not begun:
        raise InputError(
            "there is nothing to resume: no run of this very recipe was interrupted in this store within the grace of "
            "`timbrel gc`; leave --resume out to begin one"
        )
    newest = max(begun, key=lambda one: datetime.fromisoformat(one.provenance.started_at).astimezone(UTC))
    if newest.provenance.versions != versions:
        then = newest.provenance.versions
        changed = [
            f"{name} {then.get(name)}" for name in sorted(then | versions) if then.get(name) != versions.get(name)
        ]
        raise InputError(
            f"run {newest.run_id} was begun with {', '.join(changed)}; install that, or begin anew without --resume"
        )
    return newest


def _name(job: FitJob) -> str:
    return blake2b(job.name.encode())  # however many streams it names


def _write(shelf: Shelf, name: str, arrays: Tensors, text: dict[str, str]) -> None:
    hashed = blake2b(save(arrays) + json.dumps(text, sort_keys=True).encode())
    shelf.write(name, save(arrays, metadata={**text, _HASH: hashed}))


def _read(shelf: Shelf, name: str) -> tuple[Tensors, dict[str, str]] | None:
    """The arrays and text under `name`; None where there are none, or they are not as they were written."""
    content = shelf.read(name)
    if content is None:
        return None
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        text = dict(header["__metadata__"])
        hashed = text.pop(_HASH)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None
    return (arrays, text) if hashed == blake2b(save(arrays) + json.dumps(text, sort_keys=True).encode()) else None
