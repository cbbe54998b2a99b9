"""Extraction end to end: against a plain script, against the kernels alone, and two workers against one."""

import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

from benchmarks import material
from benchmarks.measure import Row, alternate, wall_s
from benchmarks.plain_script import extract_plainly
from features.registry import load_extractor, spec_for
from pipeline.decode import decode
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema.store import open_store

_STREAMS = ("pitch", "timbre", "neural")
_N_CLIPS = 160
"""Enough that starting the workers is not most of it; every run starts them anew, so that none warms up another."""

_ALL_CLIPS, _N_RUNS_OF_ALL = 400, 3
"""All of ESC-10, for what the wall takes over the kernels."""


class _Ground:
    """A folder of recordings, and a new store or folder for the results at every run."""

    def __init__(self, folder: str, n_clips: int = _N_CLIPS) -> None:
        self._folder = Path(folder)
        self._numbers = count()
        self.audio = material.copy_clips(self._folder / "audio", n_clips)
        self.files = sorted(self.audio.glob("*/*"))

    def ours(self, n_workers: int) -> None:
        store = open_store(self._folder / f"store{next(self._numbers)}", create=True)
        ingest(store, "folder", self.audio)
        plan = plan_extraction(store.snapshot(), [spec_for(name) for name in _STREAMS])
        report = run_extraction(store, plan, n_workers=n_workers)
        assert report.is_complete

    def theirs(self) -> None:
        results = self._folder / f"results{next(self._numbers)}"
        results.mkdir()
        extract_plainly(self.files, results, 2)

    def over_kernels(self, two_workers_s: list[float]) -> float:
        """The median of runs of two workers over what the kernels alone would take two."""
        return statistics.median(two_workers_s) / (self._kernels_s() / 2)

    def _kernels_s(self) -> float:
        """CPU seconds of one thread that the extractors take for all clips, decoded beforehand."""
        total = 0.0
        for name in _STREAMS:
            extractor = load_extractor(spec_for(name))
            clips = [decode(file, extractor.spec.grid.sample_rate_hz) for file in self.files]
            extractor.extract(clips[:1])
            started = time.thread_time()
            extractor.extract(clips)
            total += time.thread_time() - started
        return total


def script_row() -> Row:
    """Against processes over files, torchcrepe, a loop over Essentia and aisfx; both from files to files."""
    with tempfile.TemporaryDirectory() as folder:
        ground = _Ground(folder)
        ours_s, theirs_s = alternate(lambda: ground.ours(2), ground.theirs, clock=time.perf_counter, n_warm=0)
        over_kernels = ground.over_kernels(ours_s)
    with tempfile.TemporaryDirectory() as folder:
        ground = _Ground(folder, _ALL_CLIPS)
        all_s = [wall_s(lambda: ground.ours(2)) for _ in range(_N_RUNS_OF_ALL)]
        all_over_kernels = ground.over_kernels(all_s)
    return Row(
        "pipeline",
        f"{_N_CLIPS} ESC-10 clips to {', '.join(_STREAMS)}, 2 workers, from files to committed parts",
        "at least 3",
        ours_s,
        theirs_s,
        "a plain script, 2 processes, .npy",
        {
            "wall over kernels / 2 (at most 1.15)": over_kernels,
            "the same, all of ESC-10": all_over_kernels,
            "all of ESC-10, s": statistics.median(all_s),
        },
    )


def workers_row() -> Row:
    """One worker against two."""
    with tempfile.TemporaryDirectory() as folder:
        ground = _Ground(folder)
        two_s, one_s = alternate(lambda: ground.ours(2), lambda: ground.ours(1), clock=time.perf_counter, n_warm=0)
    work = f"{_N_CLIPS} ESC-10 clips to {', '.join(_STREAMS)}, two workers"
    return Row("workers", work, "at least 1.85", two_s, one_s, "one worker")
