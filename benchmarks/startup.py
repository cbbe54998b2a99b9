"""How long a command takes until it is done with nothing to do."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import material
from benchmarks.measure import N_RUNS, Row, wall_s

_STREAM = ("--streams", "waveform")
_TIMBREL = str(Path(sys.executable).with_name("timbrel"))


def startup_row() -> Row:
    """`--help`, `status` and an extraction that finds all done, as processes; the median of five."""
    with tempfile.TemporaryDirectory() as folder:
        audio, store = material.copy_clips(Path(folder, "audio"), 8), str(Path(folder, "store"))
        _run("ingest", "folder", str(audio), "--store", store)
        _run("extract", *_STREAM, "--store", store)
        nothing_to_do = (("--help",), ("status", "--store", store), ("extract", *_STREAM, "--store", store))
        figures = {f"{command[0]}, s": _seconds(*command) for command in nothing_to_do}
    return Row("start-up", "timbrel as a process", "--help under 0.5 s, the others under 2 s", figures=figures)


def _seconds(*arguments: str) -> float:
    return statistics.median(wall_s(lambda: _run(*arguments)) for _ in range(N_RUNS))


def _run(*arguments: str) -> None:
    subprocess.run([_TIMBREL, *arguments], check=True, capture_output=True)
