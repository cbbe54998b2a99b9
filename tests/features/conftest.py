"""Signals and recordings that the tests of features share."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

TEST_DATA = Path(os.environ.get("TIMBREL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recordings():
    """Call it with a rate in Hz for three ESC-10 recordings of different kinds, mono, at that rate."""

    def at_rate(sample_rate_hz):
        paths = sorted((TEST_DATA / "esc10" / "audio").iterdir())
        return [_read(path, sample_rate_hz) for path in paths[:: len(paths) // 3][:3]]

    return at_rate


@pytest.fixture
def brought_cache(tmp_path, monkeypatch):
    """An empty cache for models that a test brings."""
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def _read(path, sample_rate_hz):
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate_hz, sample_rate_hz, "VHQ").astype(np.float32)
