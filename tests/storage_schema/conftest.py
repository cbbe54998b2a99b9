"""A toy stream, and a store that holds nothing yet, on a disk or on a real S3 server."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.layout import part_key
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


def failed_row(i, message="gone", minute=0):
    row = ExtractionRow.failed(clip_id(i), "toy", TOY.fingerprint, stage="decode", kind="vanished", message=message)
    return replace(row, finished_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC))


def extract(store, spec=TOY):
    """What `timbrel extract` does, with a toy: adopt what is there, then make every clip that lacks frames."""
    store.recover(spec)
    outstanding = store.snapshot().outstanding(spec.stream, spec.fingerprint)["clip_id"].to_pylist()
    if outstanding:
        fill(store, [int(clip_id, 16) for clip_id in outstanding], spec)


def part_of(store, row):
    """The key of the part that a row names."""
    return part_key(row.stream, row.fingerprint, row.part_id)


def keys_below(files, folder):
    """The keys of all files below a folder of a store."""
    for entry in files.entries(folder):
        key = f"{folder}/{entry.name}" if folder else entry.name
        yield from keys_below(files, key) if entry.is_folder else [key]


on_every_ground = pytest.mark.parametrize("ground", ["local", "s3"], indirect=True)
"""A module whose `pytestmark` is this has each test once on a disk and once in a bucket."""


@pytest.fixture
def ground(request, tmp_path):
    """Where the test's store is to lie: on a disk, if nothing else is said."""
    is_remote = getattr(request, "param", "local") == "s3"
    return f"{request.getfixturevalue('s3_uri')}/store" if is_remote else str(tmp_path / "store")


@pytest.fixture
def store(ground):
    return open_store(ground, create=True)
