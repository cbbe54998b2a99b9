"""A training run as a user starts it: how soon it hears its first batch, and what share of it is loading."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import material
from benchmarks.measure import N_RUNS, Row, wall_s
from pipeline.ingest import ingest
from storage_schema.store import open_store

_RECIPE = Path(__file__).parents[1] / "recipes" / "esc10.toml"
_ALL_FOLDS = ("train", str(_RECIPE))
_ONE_FOLD = (*_ALL_FOLDS, "--set", "split.test_folds=[1]")

_TORCH_ALONE = "import torch; torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])"
"""What every script that trains waits for, whatever feeds it."""

_UNTIL_FIRST_BATCH = """
import sys, time
from flows.cli.main import main
import training.fit
make = training.fit._batch

def stop(*given):
    make(*given)
    print(time.time())
    sys.stdout.flush()
    sys.exit(0)

training.fit._batch = stop
main()
"""


def training_run_row() -> Row:
    """ESC-10, four streams, from the store: the median of five first batches, one fold, and the recipe whole."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder, "store"), create=True)
        ingest(store, "esc50", material.ESC10)
        material.extract_default_streams(store)
        place = ("--store", store.uri)
        first_s = statistics.median(_first_batch_s(*_ONE_FOLD, *place) for _ in range(N_RUNS))
        torch_alone = partial(subprocess.run, [sys.executable, "-c", _TORCH_ALONE], check=True)
        torch_s = statistics.median(wall_s(torch_alone) for _ in range(N_RUNS))
        one, one_command_s = _trained(*_ONE_FOLD, *place)
        whole, _ = _trained(*_ALL_FOLDS, *place)
    return Row(
        "training-run",
        "ESC-10 from the store by recipes/esc10.toml, one fold and all five",
        "a first batch within 2 s; loading under 0.05 of a run; figures of a fold within 30 s",
        figures={
            "first batch, s after the command": first_s,
            "importing torch and making an optimizer, s": torch_s,
            "loading, share of the run, all folds": _loading_share(whole),
            "loading, share of the run, one fold": _loading_share(one),
            "store to figures, all folds, s": sum(whole.values()),
            "store to figures, one fold, s": sum(one.values()),
            "command with its report, one fold, s": one_command_s,
            **{f"{what}, one fold, s": seconds for what, seconds in one.items()},
        },
    )


def _trained(*arguments: str) -> tuple[dict[str, float], float]:
    """Where the seconds of a run went, by its own account, and how many the command took."""
    started = time.perf_counter()
    command = [Path(sys.executable).with_name("timbrel"), *arguments, "--json"]
    done = subprocess.run(command, check=True, capture_output=True)
    timing: dict[str, float] = json.loads(done.stdout)["timing"]
    return timing, time.perf_counter() - started


def _loading_share(timing: dict[str, float]) -> float:
    return (timing["reading"] + timing["batches"]) / sum(timing.values())


def _first_batch_s(*arguments: str) -> float:
    """Seconds from the start of a process to its first batch, which it does not outlive."""
    started = time.time()
    command = [sys.executable, "-c", _UNTIL_FIRST_BATCH, *arguments, "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - started
