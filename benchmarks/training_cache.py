"""Windows a second into a model's tensors: from the store, and from a DataLoader over one .npy a clip and stream."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks import material
from benchmarks.measure import Row, alternate
from features.registry import DEFAULT_STREAMS, spec_for
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema.store import Store, open_store
from training.inputs import make_inputs, used_arrays
from training.loader import FrameSource, Loader
from training.scoring import batch_tensors
from training.windows import cut_tokens, random_windows

_N_CLIPS, _N_EPOCHS, _BATCH, _WINDOW_MS = 64, 10, 32, 2_500


class _Files(Dataset[dict[str, torch.Tensor]]):
    """A random window of each clip, cut out of whole files as they are read."""

    def __init__(self, folder: Path, clip_ids: list[str]) -> None:
        self._folder, self._clip_ids = folder, clip_ids
        self._specs = [spec_for(name) for name in DEFAULT_STREAMS]

    def __len__(self) -> int:
        return len(self._clip_ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        share = np.random.default_rng().random()
        found = {}
        for spec in self._specs:
            (name,) = used_arrays(spec)
            values = np.load(self._folder / f"{self._clip_ids[index]}.{spec.stream}.npy")
            n = max(1, int(_WINDOW_MS / 1000 * spec.grid.frame_rate_hz))
            first = int(share * max(len(values) - n, 0))
            found[spec.stream] = torch.from_numpy(make_inputs(spec, {name: values[first : first + n]}))
        return found


def training_cache_row() -> Row:
    """Ten epochs, ours with the reading of the store, on four streams of real recordings."""
    with tempfile.TemporaryDirectory() as folder:
        store = _extracted(Path(folder))
        snapshot = store.snapshot()
        streams = {name: snapshot.stream(name) for name in DEFAULT_STREAMS}
        clip_ids = list(streams["pitch"].clip_ids)
        for name, reader in streams.items():
            (array,) = used_arrays(reader.spec)
            for clip_id in clip_ids:
                np.save(Path(folder, f"{clip_id}.{name}.npy"), reader.read(clip_id)[array])
        n_bytes = 0

        def ours() -> None:
            nonlocal n_bytes
            sources = {
                name: FrameSource(snapshot.stream(name), tuple(clip_ids), tuple(clip_ids)) for name in DEFAULT_STREAMS
            }
            held = Loader(sources, 8 * 10**9).hold(DEFAULT_STREAMS)
            generator = np.random.default_rng(0)
            ticks = np.full(len(clip_ids), 5_000, np.int64)
            n_bytes = 0
            for _ in range(_N_EPOCHS):
                shown = random_windows(generator.permutation(len(clip_ids)), ticks, _WINDOW_MS, generator)
                for start in range(0, len(shown), _BATCH):
                    for frames in held.values():
                        tokens = cut_tokens(frames, shown[start : start + _BATCH])
                        tensors = batch_tensors(frames, tokens, torch.device("cpu"))
                        n_bytes += sum(tensor.nbytes for tensor in tensors)

        def theirs() -> None:
            loader = DataLoader(_Files(Path(folder), clip_ids), _BATCH, shuffle=True, num_workers=0)
            for _ in range(_N_EPOCHS):
                for _batch in loader:
                    pass

        ours_s, theirs_s = alternate(ours, theirs, clock=time.perf_counter)
        copied = np.ones(n_bytes // 4 // _N_EPOCHS, np.float32)
        target = np.empty_like(copied)
        copies_s, _ = alternate(lambda: np.copyto(target, copied), lambda: None, clock=time.perf_counter)
    median_s = sorted(ours_s)[len(ours_s) // 2]
    return Row(
        "training-cache",
        f"{_N_EPOCHS} epochs of {len(clip_ids)} windows of 2.5 s, four streams, with reading the store",
        "at least 5, and half of the speed of a copy in memory",
        ours_s,
        theirs_s,
        "a DataLoader over one .npy a clip and stream",
        {
            "windows a second": len(clip_ids) * _N_EPOCHS / median_s,
            "share of a copy's speed": (n_bytes / median_s) / (copied.nbytes / min(copies_s)),
        },
    )


def _extracted(folder: Path) -> Store:
    audio = folder / "audio" / "label"
    audio.mkdir(parents=True)
    for path in material.paths(_N_CLIPS):
        (audio / path.name).write_bytes(path.read_bytes())
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", audio.parent)
    run_extraction(store, plan_extraction(store.snapshot(), [spec_for(name) for name in DEFAULT_STREAMS]), n_workers=2)
    return store
