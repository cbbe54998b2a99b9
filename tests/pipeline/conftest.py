"""Recordings made on the spot, and a store that knows them."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from features.registry import spec_for
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema import open_store

WAVEFORM = spec_for("waveform")


def write_sine(path, frequency_hz=440.0, seconds=0.5, sample_rate_hz=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency_hz * t), sample_rate_hz)
    return path


def outstanding(**columns):
    """A table as `Snapshot.outstanding` gives it, of new clips but for the columns that are given."""
    (n,) = {len(column) for column in columns.values()}
    new = {
        "clip_id": [f"{i:032x}" for i in range(n)],
        "root": [["/audio"]] * n,
        "uri": [[f"{i}.wav"] for i in range(n)],
        "n_bytes": [1000] * n,
        "mtime_ns": [1] * n,
        "duration_s": [1.0] * n,
        "attempts": [None] * n,
        "failure": [None] * n,
        "other_fingerprint": [None] * n,
        "is_lost": [False] * n,
        "was_replaced": [False] * n,
    }
    types = {"duration_s": pa.float64(), "failure": pa.string(), "other_fingerprint": pa.string()}
    types |= {"root": pa.list_(pa.string()), "uri": pa.list_(pa.string()), "clip_id": pa.large_string()}
    types |= {"is_lost": pa.bool_(), "was_replaced": pa.bool_()}
    table = {name: pa.array(values, types.get(name)) for name, values in (new | columns).items()}
    return pa.table(table)


@pytest.fixture
def audio(tmp_path):
    """A folder with five sines of two labels."""
    for i in range(5):
        write_sine(tmp_path / "audio" / ("low" if i < 3 else "high") / f"{i}.wav", 200 + 300 * i, 0.3 + 0.1 * i)
    return tmp_path / "audio"


@pytest.fixture
def store(tmp_path, audio):
    """A store that has ingested `audio` and extracted nothing."""
    store = open_store(tmp_path / "store", create=True)
    ingest(store, "folder", audio)
    return store


@pytest.fixture
def plan(store):
    """What the waveform stream of `store` lacks: everything."""
    return plan_extraction(store.snapshot(), [WAVEFORM])
