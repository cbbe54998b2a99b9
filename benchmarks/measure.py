"""Two ways to the same result, timed by turns; what comes of it is a ratio with its spread.

Machines differ and are busy, so that a time alone says little: the two sides of a row run alternately in one process,
and each pair gives one ratio. Kernels of one thread are timed by the CPU seconds of that thread, all else by the wall.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

N_RUNS = 5


@dataclass(frozen=True)
class Row:
    """One line of the table. Ratios and figures say by their `bound` what they are held against.

    ours_s, theirs_s: seconds of each run, in order; empty where a row holds no comparison but `figures` alone.
    """

    name: str
    work: str
    bound: str
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)
    against: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.ours_s, self.theirs_s, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def alternate(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    n_runs: int = N_RUNS,
    clock: Callable[[], float] = time.thread_time,
    n_warm: int = 1,
) -> tuple[list[float], list[float]]:
    """Seconds of `n_runs` runs of each, by turns, after `n_warm` of each that do not count."""
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for run in range(n_warm + n_runs):
        for work, seconds in ((ours, ours_s), (theirs, theirs_s)):
            started = clock()
            work()
            if run >= n_warm:
                seconds.append(clock() - started)
    return ours_s, theirs_s


def wall_s(work: Callable[[], object]) -> float:
    """Seconds by the wall that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def result_document(rows: list[Row]) -> dict[str, Any]:
    """A run as JSON: the machine, the versions, and every row with each of its times."""
    return {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("timbrel", "torch", "numpy", "essentia", "zarr", "dask")},
        "rows": [asdict(row) for row in rows],
    }


def _cpu() -> str:
    """The processor's name, with the widest vectors it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return f"{facts.get('model name', platform.machine())} {widest}".strip()
