"""Every bad input that training promises a sentence or a documented rule for, and how to make it.

`python -m tests.bad_input.training full|limit FOLDER` lets the disk fail while a run is written; see `main`.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from storage_schema import open_store
from storage_schema.errors import StoreError, TimbrelError
from storage_schema.store import Store
from storage_schema.streams import Arrays
from storage_schema.tables import ClipRow
from tests.training.synthetic import CENTRED, clip_row, noise, put
from training.recipe import load_recipe
from training.run import train

FULL_DISK = "a full disk at checkpoint time"
"""What needs a process of its own: `main`."""

PROMISED = (
    "a recipe with an unknown key", "a recipe with an unknown stream", "a label seen only in test",
    "a class with one clip", "an empty split", "a clip in both train and test", "NaN in features",
    "a loss that diverges", FULL_DISK,
)  # fmt: skip
"""The promise, phrase by phrase."""

RECIPE = """[data]
dataset = "made"
streams = ["timbre"]
[window]
length_s = 0.5
hop_s = 0.5
[model]
dim = 8
layers = 1
heads = 1
[fit]
epochs = 1
"""


@dataclass(frozen=True)
class Case:
    """One bad input. `error` names the class of what is told, None where a rule applies and `told` is in the notes."""

    promise: str
    error: str | None
    told: str
    recipe: str = RECIPE
    spoil: Callable[[list[ClipRow]], list[ClipRow]] = lambda rows: rows
    features: Callable[[ClipRow, Arrays], None] = lambda row, arrays: None


def _with(old: str, new: str) -> str:
    assert old in RECIPE
    return RECIPE.replace(old, new)


def _add_gong(rows: list[ClipRow], *uris: str, **changes: object) -> list[ClipRow]:
    """Clips with a label that none of the others carries."""
    return [
        *rows,
        *(clip_row(uri, ["gong"], **({"fold": 2, "source_group": uri, "split": "test"} | changes)) for uri in uris),
    ]


def _twice(rows: list[ClipRow], **changes: object) -> list[ClipRow]:
    """The first clip once more under another name."""
    return [*rows, replace(rows[0], uri="copy.wav", **changes)]


def _nan_in(uri: str) -> Callable[[ClipRow, Arrays], None]:
    def spoil(row: ClipRow, arrays: Arrays) -> None:
        if row.uri == uri:
            arrays["descriptors"][3, 1] = np.nan

    return spoil


OFFICIAL = RECIPE + '[split]\nkind = "official"\n'

CASES: tuple[Case, ...] = (
    Case(
        "a recipe with an unknown key",
        "InputError",
        "[fit] has no setting 'epoch'; choose from epochs, ",
        _with("epochs", "epoch"),
    ),
    Case(
        "a recipe with an unknown key",
        "InputError",
        "there is no setting 'paint'; choose from task, data, ",
        RECIPE + "[paint]\n",
    ),
    Case(
        "a recipe with an unknown stream",
        "InputError",
        "has nothing of stream tinbre; it has timbre. `timbrel extract --streams tinbre` makes them",
        _with('["timbre"]', '["tinbre"]'),
    ),
    Case(
        "a label seen only in test",
        None,
        "No training clip of fold 2 carries 'gong': learned by no model, and missed on 2 test clips.",
        spoil=lambda rows: _add_gong(rows, "a gong.wav", "another.wav"),
    ),
    Case(
        "a label seen only in test",
        None,
        "No training clip of fold 1 carries 'gong': learned by no model, and missed on 1 test clip.",
        OFFICIAL,
        lambda rows: _add_gong(rows, "a gong.wav"),
    ),
    Case(
        "a class with one clip",
        None,
        "No training clip of fold 2 carries 'gong': learned by no model, and missed on 1 test clip.",
        spoil=lambda rows: _add_gong(rows, "a gong.wav"),
    ),
    Case(
        "a class with one clip",
        None,
        "No test clip carries 'gong': learned, but no figure speaks of it.",
        RECIPE + '[split]\nkind = "held_out"\n',
        lambda rows: _add_gong(rows, "a gong.wav"),
    ),
    Case(
        "an empty split",
        "InputError",
        "fold 1 has no test clips (20 training, 4 validation, 0 test); check the recipe's [split]",
        OFFICIAL,
        lambda rows: [replace(row, split="train") for row in rows],
    ),
    Case(
        "an empty split",
        "InputError",
        "fold 1 has no training clips (0 training, 0 validation, 24 test)",
        OFFICIAL,
        lambda rows: [replace(row, split="test") for row in rows],
    ),
    Case(
        "an empty split",
        "InputError",
        "fold 1 has no validation clips",  # one group: nothing can be set aside
        OFFICIAL,
        lambda rows: [replace(row, source_group="one") for row in rows],
    ),
    Case(
        "a clip in both train and test",
        "InputError",
        "are the same recording, but in fold 2 and fold 1: a model would be judged on what it has learned from",
        spoil=lambda rows: _twice(rows, fold=2),
    ),
    Case(
        "a clip in both train and test",
        "InputError",
        "are the same recording, but in split test and split train",
        OFFICIAL,
        lambda rows: _twice(rows, split="test"),
    ),
    Case("a clip in both train and test", None, "1 file is a copy of another, counted once.", spoil=_twice),
    Case(
        "NaN in features",
        "StoreError",
        "stream timbre, array descriptors: NaN or infinity among the stored features of rain/2.wav",
        features=_nan_in("rain/2.wav"),
    ),
    Case(
        "a loss that diverges",
        "InputError",
        "the loss of stream timbre became nan in epoch ",
        _with("epochs = 1", "epochs = 20")
        + "batch_size = 1\nlearning_rate = 1.0\nweight_decay = 10.0\n",  # weights grow ninefold a step
    ),
)


def make(folder: Path, case: Case) -> tuple[Store, Path]:
    """The store and the recipe of a case: 24 clips of two labels, three folds, an official split."""
    store = open_store(folder / "store", create=True)
    rows = [
        clip_row(
            f"{label}/{i}.wav",
            [label],
            fold=1 + i % 3,
            split="test" if i % 3 == 2 else "train",
            source_group=f"{label}{i}",
        )
        for label in ("dog", "rain")
        for i in range(12)
    ]
    rows = case.spoil(rows)
    generator = np.random.default_rng(0)
    clips = {}
    for row in rows:
        arrays = noise(CENTRED, 1.0, generator)
        arrays["descriptors"][:, 0] += 3 * (row.labels[0] == "dog")
        case.features(row, arrays)
        assert row.clip_id is not None
        clips.setdefault(row.clip_id, arrays)
    store.merge_clips(rows)
    put(store, CENTRED, clips)
    (folder / "recipe.toml").write_text(case.recipe)
    return store, folder / "recipe.toml"


def told(folder: Path, case: Case) -> tuple[str | None, str]:
    """What a person is told of a case: the class of the error and its sentence, or None and the notes of the run."""
    store, recipe = make(folder, case)
    try:
        result = train(store, load_recipe(recipe), device="cpu")
    except TimbrelError as error:
        assert not store.runs()
        return type(error).__name__, str(error)
    assert all(0 <= figure.value <= 1 for model in result.models for figure in model.metrics.values())
    return None, "\n".join(result.notes)


def main(mode: str, folder: Path) -> None:
    """Fill the disk (`full`), or let no file grow (`limit`), when a run's models are fitted; mend it and go on.

    Prints as JSON what the first run said, which runs there were after it, and which files each left behind.
    """
    disk = folder / "disk"
    disk.mkdir()
    if mode == "full":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    store, recipe = make(disk, Case("", None, ""))
    before = _files(disk)
    ballast = disk / "ballast"

    def spoil(what: str, done: int, _total: int) -> None:
        if what == "judging" and not done:
            if mode == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 1024, resource.RLIM_INFINITY))
            else:
                _fill(ballast)

    found = {"told": ""}
    try:
        train(store, load_recipe(recipe), device="cpu", run_id="a-run", on_progress=spoil)
    except StoreError as error:
        found["told"] = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ballast.unlink(missing_ok=True)
    left = _files(disk) - before
    kept = {path for path in left if "/.scratch/a-run.unfinished/" in path}  # the fits, for --resume
    first = {"runs": store.runs(), "left": sorted(left - kept), "n_kept": len(kept)}
    train(store, load_recipe(recipe), device="cpu", resume=True)
    left = {path for path in _files(disk) - before if "/runs/" not in path}
    print(json.dumps(found | first | {"runs_after": store.runs(), "left_after": sorted(left)}))


def _fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
