"""The script people write: processes over files, torchcrepe, Essentia, aisfx, one .npy a clip and stream."""

import multiprocessing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from benchmarks import peers
from features.timbre.spec import timbre_spec
from tests.features import plain_timbre


def extract_plainly(files: list[Path], folder: Path, n_processes: int) -> None:
    """`<clip>.<stream>.npy` in `folder` for pitch, timbre and neural of every file."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(n_processes) as pool:
        pool.starmap(_extract, [(file, folder) for file in files], chunksize=4)


def _extract(file: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    crepe, aisfx, timbre = _models()
    samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    at_16k = torch.from_numpy(soxr.resample(mono, rate_hz, 16_000))
    frames = torch.nn.functional.pad(at_16k, (512, 512)).unfold(0, 1024, 400)
    frames = frames - frames.mean(dim=1, keepdim=True)
    frames = frames / frames.std(dim=1, keepdim=True).clamp(min=1e-10)
    np.save(folder / f"{file.stem}.pitch.npy", crepe(frames).numpy().astype(np.float16))
    at_48k = soxr.resample(mono, rate_hz, 48_000)
    np.save(folder / f"{file.stem}.timbre.npy", plain_timbre.describe_waveform(at_48k, timbre_spec().grid, timbre))
    np.save(folder / f"{file.stem}.neural.npy", aisfx(file))


@cache
def _models() -> tuple[Any, Any, Any]:
    return peers.torchcrepe_network("tiny"), peers.aisfx_from_file(), plain_timbre.make_algorithms()
