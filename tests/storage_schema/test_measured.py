"""What a stream has cost, read off its rows and its parts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from storage_schema.layout import parts_key
from storage_schema.measured import measure
from storage_schema.tables import ExtractionRow
from tests.storage_schema.conftest import TOY, clip_id, fill, toy_arrays


def parts_of(store):
    return Path(store.uri, parts_key("toy", TOY.fingerprint))


def bytes_below(folder):
    return sum(os.path.getsize(Path(root, name)) for root, _, names in os.walk(folder) for name in names)


def test_stream_never_extracted_has_no_measure(store):
    assert measure(store.snapshot(), "toy", TOY.fingerprint) is None


def test_measure_sums_time_and_audio_of_the_ok_rows_and_bytes_of_their_parts(store):
    fill(store, [0, 1, 2])
    fill(store, [3])
    fill(store, [0, 1], replace(TOY, version=2))
    why = {"stage": "decode", "kind": "empty", "message": "x"}
    store.commit([ExtractionRow.failed(clip_id(9), "toy", TOY.fingerprint, **why)])
    found = measure(store.snapshot(), "toy", TOY.fingerprint)
    assert (found.n_clips, found.audio_s) == (4, 4.0)
    assert found.elapsed_s == pytest.approx(4 * 0.002)
    assert found.n_bytes == bytes_below(parts_of(store))


def test_bytes_of_many_parts_are_those_of_some_of_them_scaled_up(store, monkeypatch):
    monkeypatch.setattr("storage_schema.measured._PARTS_LOOKED_AT", 3)
    for i in range(0, 8):
        fill(store, [i])
    whole = bytes_below(parts_of(store))
    found = measure(store.snapshot(), "toy", TOY.fingerprint)
    assert found.n_bytes == pytest.approx(whole, rel=0.02)  # the parts differ by a frame of nine bytes each


def test_parts_adopted_from_a_killed_run_which_have_no_time_are_left_out(store):
    fill(store, [0, 1])
    alone = measure(store.snapshot(), "toy", TOY.fingerprint)
    store.write_part(TOY, {clip_id(7): toy_arrays(7)}, {clip_id(7): 9 * 400 / 16_000})
    assert store.recover(TOY) == 1
    assert measure(store.snapshot(), "toy", TOY.fingerprint) == alone
