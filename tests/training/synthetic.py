"""Stores made for a test: clips of noise into which each stream writes as much about the label as the test wants."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np

from storage_schema.store import Store, open_store
from storage_schema.streams import Arrays, ArraySpec, StreamSpec
from storage_schema.tables import ClipRow, ExtractionRow
from storage_schema.timebase import FrameGrid

N_CHANNELS = 6
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

CENTRED = StreamSpec(
    "timbre", "test", 1, FrameGrid(48_000, 1_200), (ArraySpec("descriptors", "float32", "1", "made up", (N_CHANNELS,)),)
)
BLOCKS = StreamSpec(
    "neural",
    "test",
    1,
    FrameGrid(44_100, 51_200, "blocks"),
    (ArraySpec("embedding", "float16", "1", "made up", (N_CHANNELS,)),),
)
PITCH = StreamSpec(
    "pitch",
    "test",
    1,
    FrameGrid(16_000, 400),
    (
        ArraySpec("salience", "uint8", "1", "made up", (360,), 1 / 255),
        ArraySpec("f0_hz", "float32", "Hz", "made up"),
        ArraySpec("periodicity", "float32", "1", "made up"),
    ),
)
WAVEFORM = StreamSpec(
    "waveform",
    "test",
    1,
    FrameGrid(16_000, 400, "blocks"),
    (ArraySpec("samples", "int16", "1", "made up", (400,), 1 / 32_767),),
)


def clip_id(uri: str) -> str:
    return blake2b(uri.encode(), digest_size=16).hexdigest()


def clip_row(uri: str, labels: Sequence[str], **changes: object) -> ClipRow:
    row = ClipRow(
        "made",
        uri,
        "/nowhere",
        clip_id(uri),
        1,
        1,
        1.0,
        16_000,
        1,
        tuple(labels),
        None,
        None,
        None,
        None,
        None,
        LONG_AGO,
    )
    return replace(row, **changes)


def noise(spec: StreamSpec, n_seconds: float, generator: np.random.Generator) -> Arrays:
    """A clip of random numbers of the right shapes."""
    n_frames = spec.grid.n_frames(round(n_seconds * spec.grid.sample_rate_hz))
    arrays: Arrays = {}
    for array in spec.arrays:
        shape = (n_frames, *array.shape)
        if array.dtype == "uint8":
            arrays[array.name] = generator.integers(0, 256, shape).astype(np.uint8)
        elif array.dtype == "int16":
            arrays[array.name] = generator.integers(-3_000, 3_000, shape).astype(np.int16)
        elif array.name in ("f0_hz", "periodicity"):
            arrays[array.name] = generator.uniform(0.1, 1, shape).astype(np.float32)
        else:
            arrays[array.name] = generator.standard_normal(shape).astype(array.dtype)
    return arrays


def put(store: Store, spec: StreamSpec, clips: Mapping[str, Arrays]) -> None:
    """Write the clips (by clip_id) as one part and commit it."""
    part_id, entries = store.write_part(spec, clips)
    store.commit(
        ExtractionRow(
            entry.clip_id,
            spec.stream,
            spec.fingerprint,
            "ok",
            part_id,
            entry.first_row,
            entry.n_rows,
            1.0,
            1.0,
            None,
            None,
            None,
            1,
            LONG_AGO,
        )
        for entry in entries
    )


def make_store(
    folder: Path,
    strengths: Sequence[tuple[StreamSpec, float]],
    *,
    labels: Sequence[str] = ("bell", "dog", "rain"),
    n_a_label: int = 12,
    n_folds: int = 3,
    seed: int = 0,
) -> Store:
    """A dataset "made" of one-second clips; a stream moves the channel of the clip's label by its strength."""
    store = open_store(folder, create=True)
    generator = np.random.default_rng(seed)
    rows = [
        clip_row(f"{label}/{i}.wav", [label], fold=1 + i % n_folds, source_group=f"{label} {i}")
        for label in labels
        for i in range(n_a_label)
    ]
    store.merge_clips(rows)
    for spec, strength in strengths:
        clips = {}
        for row in rows:
            arrays = noise(spec, 1.0, generator)
            first = spec.arrays[0]
            if first.dtype in ("float32", "float16"):
                arrays[first.name][:, labels.index(row.labels[0])] += strength
            clips[clip_id(row.uri)] = arrays
        put(store, spec, clips)
    return store
