"""Fits side by side and fits taken up again: the same figures as in one process and one go."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage_schema.errors import InputError, StoreError
from storage_schema.shelf import Shelf, shelves
from storage_schema.store import Store
from tests.training.conftest import QUICK
from tests.training.synthetic import BLOCKS, CENTRED, clip_row, make_store
from training import fit, jobs, unfinished, workers
from training.recipe import parse_recipe
from training.results import RunResult
from training.run import train

RECIPE = parse_recipe(
    QUICK.replace('["pitch", "timbre", "neural", "waveform"]', '["timbre", "neural"]').replace(
        "epochs = 10", "epochs = 3"
    ),
    "the test's recipe",
)


@pytest.fixture
def small(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", [(CENTRED, 1.0), (BLOCKS, 1.0)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    store = make_store(tmp_path_factory.mktemp("undisturbed") / "store", [(CENTRED, 1.0), (BLOCKS, 1.0)])
    return train(store, RECIPE, device="cpu", run_id="whole")


class StoppedError(Exception):
    """Stands for Ctrl-C: nobody in the code under test knows it."""


def stop_after(monkeypatch: pytest.MonkeyPatch, n_epochs: int) -> None:
    """Let the next run end after so many epochs of all its fits together."""
    seen = []
    take = fit.headline_score

    def count(*arguments):
        seen.append(1)
        if len(seen) > n_epochs:
            raise StoppedError
        return take(*arguments)

    monkeypatch.setattr(fit, "headline_score", count)


def figures(result: RunResult):
    return {
        model.name: (model.metrics, [[p.validation_loss for p in c] for c in model.curves]) for model in result.models
    }


def test_two_processes_give_the_figures_of_one(small: Store, undisturbed: RunResult) -> None:
    told = []
    result = train(small, RECIPE, device="cpu", n_workers=2, on_progress=lambda *what: told.append(what))
    assert figures(result) == figures(undisturbed)
    n_fits = 3 * 2 * 2  # folds, streams, and each once more
    assert len({what for what, done, total in told if done == total == 3 and what.startswith("fold")}) == n_fits
    assert list(shelves(small.files)) == []


def test_a_worker_that_is_killed_ends_the_run_and_the_rest_is_resumed(small: Store, undisturbed: RunResult) -> None:
    def kill(what: str, done: int, total: int) -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(StoreError, match=r"a worker of the training ended by itself .exit code -9.*--resume"):
        train(small, RECIPE, device="cpu", run_id="broken", n_workers=2, on_progress=kill)
    assert multiprocessing.active_children() == []
    assert figures(train(small, RECIPE, device="cpu", resume=True)) == figures(undisturbed)


def test_what_a_worker_could_not_do_is_raised_here() -> None:
    news = multiprocessing.get_context("spawn").Queue()
    news.put(("error", InputError("the loss of stream timbre became nan")))
    with pytest.raises(InputError, match="became nan"):
        workers._Listener(news, [], {}, lambda *told: None).hear(wait=True)


@pytest.mark.parametrize("every_s", [0.0, 1e9], ids=["every epoch kept", "finished fits kept"])
def test_an_interrupted_run_goes_on_to_the_same_figures(
    small: Store, undisturbed: RunResult, monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    monkeypatch.setattr(unfinished.Unfinished.keeper, "__defaults__", (every_s,))
    with monkeypatch.context() as patched:
        stop_after(patched, 4)
        with pytest.raises(StoppedError):
            train(small, RECIPE, device="cpu", run_id="broken")
    assert not small.has_run("broken")
    small.merge_clips([clip_row("bell/new.wav", ["bell"], fold=1)])  # the store goes on growing meanwhile
    begun = []
    fit_one = jobs.fit_encoders
    monkeypatch.setattr(jobs, "fit_encoders", lambda *a, **k: (begun.append(k["keeper"].load()), fit_one(*a, **k))[1])
    result = train(small, RECIPE, device="cpu", resume=True)
    assert result.run_id == "broken"
    assert figures(result) == figures(undisturbed)
    assert len(begun) == 3 * 2 * 2 - 4  # finished: three of timbre on all clips, the longest, and a first one
    assert [state.n_epochs for state in begun if state] == ([1] if every_s == 0 else [])
    assert list(shelves(small.files)) == []


def test_a_torn_or_changed_file_is_fitted_again(
    small: Store, undisturbed: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(StoppedError):
            train(small, RECIPE, device="cpu", run_id="broken")
    kept = [path for path in (small.files.root / ".scratch" / "broken.unfinished").iterdir() if path.name != "run.json"]
    assert kept
    for i, path in enumerate(kept):
        content = bytearray(path.read_bytes())
        content[-1 - i] ^= 1
        path.write_bytes(content)
    assert figures(train(small, RECIPE, device="cpu", resume=True)) == figures(undisturbed)


def test_there_is_nothing_to_resume_of_another_recipe(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError):
            train(small, RECIPE, device="cpu", run_id="broken")
    other = RECIPE.model_copy(update={"fit": RECIPE.fit.model_copy(update={"seed": 1})})
    with pytest.raises(InputError, match="nothing to resume"):
        train(small, other, device="cpu", resume=True)
    monkeypatch.setattr("training.run.library_versions", lambda: {"torch": "0.1"})
    with pytest.raises(InputError, match=r"begun with .*torch"):
        train(small, RECIPE, device="cpu", resume=True)


def test_a_shelf_holds_files_by_name_until_it_is_removed(small: Store) -> None:
    shelf = Shelf(small.files, "one")
    assert shelf.read("state") is None
    shelf.write("state", b"1")
    shelf.write("state", b"2")
    assert shelf.read("state") == b"2"
    assert list(shelves(small.files)) == [shelf]
    shelf.remove("state")
    assert shelf.read("state") is None
    shelf.write("other", b"")
    shelf.remove()
    assert list(shelves(small.files)) == []
    with pytest.raises(InputError, match="no name"):
        shelf.write("../outside", b"")


def test_an_outcome_comes_back_from_its_file(small: Store) -> None:
    outcome = jobs.FitOutcome(
        {"stream/timbre/weight": np.ones((2, 3), np.float32)},
        {"timbre": np.zeros((4, 3), np.float32)},
        {"timbre": ()},
        1.5,
    )
    again = jobs.outcome_from_file(*jobs.outcome_to_file(outcome))
    np.testing.assert_array_equal(again.tensors["stream/timbre/weight"], outcome.tensors["stream/timbre/weight"])
    np.testing.assert_array_equal(again.scores["timbre"], outcome.scores["timbre"])
    assert replace(again, tensors={}, scores={}) == replace(outcome, tensors={}, scores={})
