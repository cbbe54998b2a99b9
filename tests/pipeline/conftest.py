"""Recordings made on the spot, and a store that knows them."""

import numpy as np
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
