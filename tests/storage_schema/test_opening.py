"""The contract of opening a store, on every ground."""

import json
from pathlib import Path

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.errors import StoreError
from storage_schema.files import LocalFiles
from storage_schema.layout import MARKER
from storage_schema.store import READABLE_VERSIONS, SCHEMA_VERSION
from tests.storage_schema.conftest import clip_id, clip_row, fill, keys_below, on_every_ground, toy_arrays

pytestmark = on_every_ground

GOLDEN = Path(__file__).parents[1] / "golden"


def test_store_of_another_schema_version_is_refused_with_both_named(store):
    store.files.write(MARKER, json.dumps({"schema_version": 99}).encode())
    with pytest.raises(StoreError, match="schema version 99, this timbrel writes 2 and reads 1 and 2"):
        open_store(store.uri)
    store.files.write(MARKER, b"[]")
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(store.uri)


def test_opening_where_there_is_nothing_says_what_to_do_and_makes_nothing(ground):
    with pytest.raises(StoreError, match=f"there is no timbrel store at {ground}; `timbrel ingest"):
        open_store(ground)
    with pytest.raises(StoreError, match="there is no timbrel store"):
        open_store(ground)


def test_opening_what_holds_other_things_makes_no_store_of_it(store):
    store.files.remove(MARKER)
    store.files.write("thesis.doc", b"mine")
    with pytest.raises(StoreError, match=r"not empty \(it holds 'thesis\.doc'\)"):
        open_store(store.uri, create=True)
    assert not store.files.exists(MARKER)


def test_opening_a_store_that_is_there_keeps_what_is_in_it(store):
    store.merge_clips([clip_row(0)])
    assert open_store(store.uri, create=True).snapshot().n_clips == 1


def test_half_made_store_is_finished_by_the_next_call(store):
    store.files.remove(MARKER)
    store.files.write(f".{MARKER}.0123.tmp", b"{")  # killed between writing and renaming
    assert open_store(store.uri, create=True).snapshot().clips.num_rows == 0


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_store_of_every_schema_version_is_read_and_taken_on_by_the_first_write(store, version):
    golden = LocalFiles(GOLDEN / f"store_v{version}")
    for table in ("clips", "extractions"):
        store.files.remove(table)
    for key in keys_below(golden, ""):
        store.files.write(key, golden.read(key))
    store = open_store(store.uri)
    (coverage,) = store.snapshot().coverage()
    assert (coverage.n_clips, coverage.n_ok, coverage.n_failed) == (4, 3, 1)
    toy = store.snapshot().stream("toy")
    for i in range(3):
        np.testing.assert_array_equal(toy.read(clip_id(i))["level"], toy_arrays(i)["level"])
    assert json.loads(store.files.read(MARKER))["schema_version"] == version
    store.merge_clips([clip_row(3, clip_id=clip_id(7), replaced_clip_id=clip_id(3)), clip_row(9)])
    fill(store, [7, 9])
    assert json.loads(store.files.read(MARKER))["schema_version"] == SCHEMA_VERSION
    again = open_store(store.uri).snapshot()
    assert again.clips["replaced_clip_id"].to_pylist() == [None, None, None, clip_id(3), None]
    assert again.stream("toy").read_all().arrays["salience"].tolist() == [
        i for i in (0, 1, 2, 7, 9) for _ in range(3 + i)
    ]
    assert store.snapshot("1-3").stream("toy").clip_ids == tuple(map(clip_id, range(3)))
