"""Windows a second into a model's tensors: from the store, and by a DataLoader over what people keep features in."""

import tempfile
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from benchmarks import material
from benchmarks.measure import N_RUNS, Row, alternate
from benchmarks.window_datasets import LhotseWindows, NpyWindows, Windows
from features.registry import DEFAULT_STREAMS
from pipeline.ingest import ingest
from storage_schema.snapshot import Snapshot
from storage_schema.store import open_store
from training.loader import FrameSource, Loader
from training.scoring import batch_tensors
from training.windows import cut_tokens, random_windows

_N_CLIPS, _BATCH, _WINDOW_S = 320, 32, 2.5
_N_EPOCHS = 40
"""Of one reading of the store: recipes/esc10.toml fits 20 epochs, and 20 more with the validation clips."""


def npy_row() -> Row:
    """Against one .npy a clip and array, and against a copy in memory of as many bytes."""
    return _row("training-cache", NpyWindows, "a DataLoader over one .npy a clip and array")


def lhotse_row() -> Row:
    """Against lhotse's own default storage of features."""
    return _row("training-lhotse", LhotseWindows, "a DataLoader over lhotse's LilcomChunkyReader")


def _row(name: str, make: type[NpyWindows | LhotseWindows], against: str) -> Row:
    """All epochs, ours with the reading of the store, on four streams of real recordings."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot = _extracted(Path(folder))
        clip_ids = list(snapshot.stream("pitch").clip_ids)
        theirs = make(Path(folder), snapshot, clip_ids, _WINDOW_S)
        runs: list[tuple[int, float]] = []
        ours_s, theirs_s = alternate(
            lambda: runs.append(_epochs_of_ours(snapshot, clip_ids)),
            lambda: _epochs_of(theirs),
            clock=time.perf_counter,
        )
        n_bytes, batches_s = runs[0][0], [seconds for _, seconds in runs[-N_RUNS:]]
        copied = np.ones(n_bytes // _N_EPOCHS // (len(clip_ids) // _BATCH) // 4, np.float32)  # as large as a batch
        target = np.empty_like(copied)
        copies_s, _ = alternate(lambda: np.copyto(target, copied), lambda: None, clock=time.perf_counter)
    median_s = float(np.median(ours_s))
    return Row(
        name,
        f"{_N_EPOCHS} epochs of {len(clip_ids)} windows of {_WINDOW_S} s, four streams, with reading the store",
        "at least 5, and half of the speed of a copy in memory",
        ours_s,
        theirs_s,
        against,
        {
            "windows a second": len(clip_ids) * _N_EPOCHS / median_s,
            "share of a copy's speed, once the store is read": (n_bytes / float(np.median(batches_s)))
            / (copied.nbytes / float(np.median(copies_s))),
        },
    )


def _epochs_of_ours(snapshot: Snapshot, clip_ids: list[str]) -> tuple[int, float]:
    """Read the store, then make every batch's tensors; their bytes, and the seconds without the reading."""
    ids, names = tuple(clip_ids), DEFAULT_STREAMS
    held = Loader({name: FrameSource(snapshot.stream(name), ids, ids) for name in names}, 8 * 10**9).hold(names)
    generator = np.random.default_rng(0)
    ticks = np.full(len(ids), 5_000, np.int64)
    n_bytes, started = 0, time.perf_counter()
    for _ in range(_N_EPOCHS):
        shown = random_windows(generator.permutation(len(ids)), ticks, round(1000 * _WINDOW_S), generator)
        for start in range(0, len(shown), _BATCH):
            for frames in held.values():
                tensors = batch_tensors(frames, cut_tokens(frames, shown[start : start + _BATCH]))
                n_bytes += sum(tensor.nbytes for tensor in tensors)
    return n_bytes, time.perf_counter() - started


def _epochs_of(dataset: Windows) -> None:
    loader = DataLoader(dataset, _BATCH, shuffle=True, num_workers=0)
    for _ in range(_N_EPOCHS):
        for _batch in loader:
            pass


def _extracted(folder: Path) -> Snapshot:
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", material.copy_clips(folder / "audio", _N_CLIPS))
    material.extract_default_streams(store)
    return store.snapshot()
