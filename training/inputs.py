"""What an encoder is fed: how each stream's stored arrays become float channels, and their normalisation.

    pitch      salience / 255, then octaves above A4 (log2 f0 / 440 Hz, weighted by periodicity), then periodicity
    waveform   samples times their scale
    any other  its arrays side by side in the order of the spec, each flattened and multiplied by its scale

Statistics are taken over the frames of training clips only; the caller passes those frames and no others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError
from storage_schema.streams import Arrays, StreamSpec
from training.recipe import Recipe
from training.windows import StreamFrames

A4_HZ = 440.0
PITCH_ARRAYS = ("salience", "f0_hz", "periodicity")
BLOCK_FRAMES = 2_048
"""Frames turned into floats at a time while statistics are taken, which bounds the memory."""

SMALLEST_STD = 1e-5
"""A channel that hardly moves is left alone rather than blown up."""


@dataclass(frozen=True)
class Normalisation:
    """Per channel mean and standard deviation, each (n_channels,) float32."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class EncoderShape:
    """All that fixes the shapes of an encoder's parameters; `merge` neighbouring frames become one token."""

    n_channels: int
    n_labels: int
    is_waveform: bool
    is_embedding: bool
    merge: int
    dim: int
    layers: int
    heads: int


def is_waveform(spec: StreamSpec) -> bool:
    """Whether a frame of the stream is a stretch of samples, whose channels are positions and no properties."""
    return [array.name for array in spec.arrays] == ["samples"]


def is_embedding(spec: StreamSpec) -> bool:
    """Whether a frame of the stream is what a network that was trained elsewhere makes of seconds of sound."""
    return [array.name for array in spec.arrays] == ["embedding"]


def n_channels(spec: StreamSpec) -> int:
    """How many channels `make_inputs` gives."""
    if _is_pitch(spec):
        return spec.array("salience").shape[0] + 2
    return sum(int(np.prod(array.shape, dtype=np.int64)) for array in spec.arrays)


def used_arrays(spec: StreamSpec) -> tuple[str, ...]:
    """The arrays that `make_inputs` looks at; others need not be read."""
    return PITCH_ARRAYS if _is_pitch(spec) else tuple(array.name for array in spec.arrays)


def make_inputs(spec: StreamSpec, arrays: Arrays) -> NDArray[np.float32]:
    """The float channels of some frames.

    arrays: the stream's arrays, each of shape (..., *array.shape) with the same leading axes.
    Returns (..., n_channels) float32.
    """
    if _is_pitch(spec):
        salience, periodicity = arrays["salience"], arrays["periodicity"].astype(np.float32)
        inputs = np.empty((*salience.shape[:-1], salience.shape[-1] + 2), np.float32)
        np.multiply(salience, np.float32(spec.array("salience").scale), out=inputs[..., :-2])
        octaves = np.log2(np.maximum(arrays["f0_hz"].astype(np.float32), 1.0) / np.float32(A4_HZ))
        inputs[..., -2], inputs[..., -1] = octaves * periodicity, periodicity
        return inputs
    parts = []
    for array in spec.arrays:
        values = arrays[array.name]
        leading = values.shape[: values.ndim - len(array.shape)]
        parts.append(np.multiply(values.reshape(*leading, -1), np.float32(array.scale), dtype=np.float32))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def gather_inputs(frames: StreamFrames, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """`make_inputs` of the frames `rows`, of any shape; returns (*rows.shape, n_channels) float32."""
    if not len(frames.arrays[used_arrays(frames.spec)[0]]):  # no clip here has the stream; its tokens are masked
        return np.zeros((*rows.shape, n_channels(frames.spec)), np.float32)
    return make_inputs(frames.spec, {name: values.take(rows, axis=0) for name, values in frames.arrays.items()})


def refuse_not_finite(frames: StreamFrames, uris: Sequence[str]) -> None:
    """Raise StoreError where a stored number is NaN or infinite, naming its clip; `uris` are the names of the clips.

    No extraction writes one, so that the store is damaged: a model fed with it would answer NaN for that clip, which
    counts as the first label.
    """
    for name, values in frames.arrays.items():
        for start in range(0, len(values) if values.dtype.kind == "f" else 0, BLOCK_FRAMES):
            block = values[start : start + BLOCK_FRAMES]
            is_sound = np.isfinite(block.reshape(len(block), -1)).all(axis=1)
            if not is_sound.all():
                row = start + int(is_sound.argmin())
                clip = int(np.argmax((frames.starts <= row) & (row < frames.starts + frames.lengths)))
                raise StoreError(
                    f"stream {frames.spec.stream}, array {name}: NaN or infinity among the stored features of "
                    f"{uris[clip]}, which no extractor may write; leave the stream out of the recipe and report it"
                )


def fit_normalisation(chunks: Iterable[tuple[StreamFrames, NDArray[np.int64]]]) -> Normalisation:
    """Mean and standard deviation over all frames of `chunks`; one pair for all positions of a waveform.

    chunks: frames of one stream, with the clips among them that count. The statistics of a chunk are taken in two
    passes and those of chunks joined as in Chan, Golub & LeVeque 1983, so that nothing is read twice.
    Raises StoreError where there is NaN or infinity among them, which no extractor may write.
    """
    n, mean, squares = 0, np.zeros(1), np.zeros(1)
    for frames, clips in chunks:
        spec, rows = frames.spec, frames.rows(clips)
        if not len(rows):
            continue
        blocks = [rows[start : start + BLOCK_FRAMES] for start in range(0, len(rows), BLOCK_FRAMES)]
        own_mean = sum(gather_inputs(frames, block).sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
        if not np.isfinite(own_mean).all():
            raise StoreError(f"stream {spec.stream} has NaN or infinity among its stored features, a bug to report")
        own_squares = sum(np.square(gather_inputs(frames, block) - own_mean).sum(axis=0) for block in blocks)
        apart = own_mean - mean
        share = len(rows) / (n + len(rows))
        mean = own_mean if n == 0 else mean + apart * share
        squares = squares + own_squares + np.square(apart) * n * share
        n += len(rows)
    if n == 0:
        raise InputError("no clip to learn from has the stream; extract it, or leave it out of the recipe")
    variance = squares / n
    if is_waveform(spec):
        variance = np.full(len(mean), np.mean(variance + np.square(mean)))
        mean = np.zeros(len(mean))
    std = np.sqrt(variance)
    return Normalisation(mean.astype(np.float32), np.where(std < SMALLEST_STD, 1.0, std).astype(np.float32))


def encoder_shape(spec: StreamSpec, n_labels: int, recipe: Recipe) -> EncoderShape:
    """The shape of the encoder that `recipe` asks for on a stream."""
    model = recipe.model
    return EncoderShape(
        n_channels(spec),
        n_labels,
        is_waveform(spec),
        is_embedding(spec),
        frames_a_token(spec, recipe),
        model.dim,
        model.layers,
        model.heads,
    )


def frames_a_token(spec: StreamSpec, recipe: Recipe) -> int:
    """How many neighbouring frames of a stream become one token."""
    return max(1, round(recipe.model.token_s * spec.grid.frame_rate_hz))


def _is_pitch(spec: StreamSpec) -> bool:
    return set(PITCH_ARRAYS) <= {array.name for array in spec.arrays}
