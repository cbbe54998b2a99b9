from pathlib import Path

import pytest
import torch

from storage_schema.layout import run_key
from storage_schema.store import Store
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, WAVEFORM, make_store
from training.recipe import Recipe, parse_recipe
from training.results import RunResult
from training.run import train

QUICK = """
[data]
dataset = "made"
streams = ["pitch", "timbre", "neural", "waveform"]
[window]
length_s = 0.5
hop_s = 0.5
[model]
dim = 12
layers = 1
heads = 2
[fit]
epochs = 10
learning_rate = 0.005
batch_size = 8
mixup = 0
"""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return parse_recipe(QUICK, "the test's recipe")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three labels; timbre and neural tell them apart, pitch and waveform are noise."""
    folder = tmp_path_factory.mktemp("training") / "store"
    return make_store(folder, [(PITCH, 0.0), (CENTRED, 1.0), (BLOCKS, 2.0), (WAVEFORM, 0.0)], n_a_label=18)


@pytest.fixture(scope="session")
def result(store: Store, recipe: Recipe) -> RunResult:
    """A finished run of `recipe` on `store`, with run id "first"."""
    return train(store, recipe, device="cpu", run_id="first")


@pytest.fixture
def run_folder(store: Store, result: RunResult) -> Path:
    return store.files.path(run_key(result.run_id))
