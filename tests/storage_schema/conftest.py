"""A toy stream and a store that holds nothing yet."""

from datetime import UTC, datetime

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.streams import ArraySpec, Channel, StreamSpec
from storage_schema.tables import ClipRow, ExtractionRow
from storage_schema.timebase import FrameGrid

TOY = StreamSpec(
    stream="toy",
    extractor="toy",
    version=1,
    grid=FrameGrid(16_000, 400),
    arrays=(
        ArraySpec("level", "float32", "dB", "level", (2,), channels=(Channel("low", "dB"), Channel("high", "dB"))),
        ArraySpec("salience", "uint8", "1", "salience", scale=1 / 255),
    ),
    parameters={"hop": 400},
)


def clip_id(i):
    return f"{i:032x}"


def clip_row(i, **changes):
    row = {
        "dataset": "toys",
        "uri": f"a/{i}.wav",
        "root": "/audio",
        "clip_id": clip_id(i),
        "n_bytes": 10,
        "mtime_ns": 1,
        "duration_s": 1.0,
        "sample_rate_hz": 16_000,
        "n_channels": 1,
        "labels": ("dog",),
        "split": None,
        "fold": 1,
        "source_group": None,
        "problem_kind": None,
        "problem": None,
        "ingested_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return ClipRow(**(row | changes))


def toy_arrays(i):
    """Clip i has 3 + i frames that all say i."""
    return {"level": np.full((3 + i, 2), i, np.float32), "salience": np.full(3 + i, i, np.uint8)}


def fill(store, indices, spec=TOY, finished_at=None):
    """Extract the clips of `indices` into one committed part; the receipts."""
    part_id, entries = store.write_part(spec, {clip_id(i): toy_arrays(i) for i in indices})
    at = finished_at or datetime.now(UTC)
    rows = [
        ExtractionRow(
            e.clip_id,
            spec.stream,
            spec.fingerprint,
            "ok",
            part_id,
            e.first_row,
            e.n_rows,
            1.0,
            2.0,
            None,
            None,
            None,
            1,
            at,
        )
        for e in entries
    ]
    store.commit(rows)
    return rows


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)
