"""Datasets that people read windows of stored features with: one .npy a clip and array, and lhotse."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks import peers
from features.registry import DEFAULT_STREAMS, spec_for
from storage_schema.snapshot import Snapshot
from storage_schema.streams import Arrays, StreamSpec
from training.inputs import make_inputs, used_arrays


class Windows(ABC, Dataset[dict[str, torch.Tensor]]):
    """A random window of each clip, of the default streams, as inputs (n_frames, n_channels)."""

    def __init__(self, clip_ids: list[str], window_s: float) -> None:
        self._clip_ids, self._window_s = clip_ids, window_s
        self.specs = [spec_for(name) for name in DEFAULT_STREAMS]

    def __len__(self) -> int:
        return len(self._clip_ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        share, found = np.random.default_rng().random(), {}
        for spec in self.specs:
            n = int(self._window_s * spec.grid.frame_rate_hz)
            found[spec.stream] = torch.from_numpy(self.read(spec, self._clip_ids[index], share, n))
        return found

    @abstractmethod
    def read(self, spec: StreamSpec, clip_id: str, share: float, n: int) -> np.ndarray:
        """`n` frames of a clip, begun at a `share` of where they can be."""


class NpyWindows(Windows):
    """Cut out of whole .npy files, which `np.load` reads."""

    def __init__(self, folder: Path, snapshot: Snapshot, clip_ids: list[str], window_s: float) -> None:
        super().__init__(clip_ids, window_s)
        self._folder = folder
        for spec in self.specs:
            for clip_id in clip_ids:
                for name, values in _used(snapshot, spec, clip_id).items():
                    np.save(folder / f"{clip_id}.{spec.stream}.{name}.npy", values)

    def read(self, spec: StreamSpec, clip_id: str, share: float, n: int) -> np.ndarray:
        arrays = {name: np.load(self._folder / f"{clip_id}.{spec.stream}.{name}.npy") for name in used_arrays(spec)}
        first = int(share * max(len(next(iter(arrays.values()))) - n, 0))
        return make_inputs(spec, {name: values[first : first + n] for name, values in arrays.items()})


class LhotseWindows(Windows):
    """Inputs as lhotse keeps them by default: compressed chunks in a file a stream, only those needed are read."""

    def __init__(self, folder: Path, snapshot: Snapshot, clip_ids: list[str], window_s: float) -> None:
        super().__init__(clip_ids, window_s)
        io = peers.lhotse_features()
        self._readers, self._keys = {}, {}
        for spec in self.specs:
            with io.LilcomChunkyWriter(folder / f"lhotse-{spec.stream}") as writer:
                for clip_id in clip_ids:
                    inputs = make_inputs(spec, _used(snapshot, spec, clip_id))
                    self._keys[spec.stream, clip_id] = writer.write(clip_id, inputs), len(inputs)
                self._readers[spec.stream] = io.LilcomChunkyReader(writer.storage_path)

    def read(self, spec: StreamSpec, clip_id: str, share: float, n: int) -> np.ndarray:
        key, n_frames = self._keys[spec.stream, clip_id]
        first = int(share * max(n_frames - n, 0))
        last = min(n_frames, first + n)
        found: np.ndarray = self._readers[spec.stream].read(key, left_offset_frames=first, right_offset_frames=last)
        return found


def _used(snapshot: Snapshot, spec: StreamSpec, clip_id: str) -> Arrays:
    arrays = snapshot.stream(spec.stream).read(clip_id)
    return {name: arrays[name] for name in used_arrays(spec)}
