"""A training run as a user starts it: how soon it hears its first batch, and what share of it is loading."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import material
from benchmarks.measure import N_RUNS, Row
from pipeline.ingest import ingest
from storage_schema.store import open_store

_RECIPE = Path(__file__).parents[1] / "recipes" / "esc10.toml"
_ONE_FOLD = ("train", str(_RECIPE), "--set", "split.test_folds=[1]")

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
    """One fold of ESC-10, four streams, from the store; the median of five first batches, and one whole run."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder, "store"), create=True)
        ingest(store, "esc50", material.ESC10)
        material.extract_default_streams(store)
        arguments = (*_ONE_FOLD, "--store", store.uri)
        first_s = statistics.median(_first_batch_s(*arguments) for _ in range(N_RUNS))
        started = time.perf_counter()
        done = subprocess.run(
            [Path(sys.executable).with_name("timbrel"), *arguments, "--json"], check=True, capture_output=True
        )
        command_s = time.perf_counter() - started
        timing: dict[str, float] = json.loads(done.stdout)["timing"]
    total_s = sum(timing.values())
    loading_s = timing["reading"] + timing["batches"]
    return Row(
        "training-run",
        "one fold of ESC-10 from the store, recipes/esc10.toml",
        "a first batch within 2 s; loading under 0.05 of a run; figures within 30 s",
        figures={
            "first batch, s after the command": first_s,
            "loading, share of the run": loading_s / total_s,
            "store to figures, s": total_s,
            "command with its report, s": command_s,
            **{f"{what}, s": seconds for what, seconds in timing.items()},
        },
    )


def _first_batch_s(*arguments: str) -> float:
    """Seconds from the start of a process to its first batch, which it does not outlive."""
    started = time.time()
    command = [sys.executable, "-c", _UNTIL_FIRST_BATCH, *arguments, "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - started
