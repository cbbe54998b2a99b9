"""After `repair` and an extraction a store is whole again, whatever was harmed, and nothing whole was thrown away."""

from dataclasses import replace

import numpy as np
import pytest

from storage_schema.layout import CLIPS, EXTRACTIONS, spec_key
from storage_schema.tables import ExtractionRow
from storage_schema.upkeep.repair import repair
from tests.storage_schema.conftest import (
    TOY,
    clip_id,
    clip_row,
    extract,
    fill,
    keys_below,
    on_every_ground,
    part_of,
    toy_arrays,
)
from tests.storage_schema.upkeep.test_verify import errors, newest_commit, table_files


def mend(store, *, specs=(TOY,), dry_run=False):
    return list(repair(store, specs, None, lambda *_: None, dry_run=dry_run))


def assert_whole(store, n_clips):
    assert errors(store) == []
    toy = store.snapshot().stream("toy")
    assert toy.clip_ids == tuple(map(clip_id, range(n_clips)))
    for i in range(n_clips):
        np.testing.assert_array_equal(toy.read(clip_id(i))["level"], toy_arrays(i)["level"])


def fill_three_parts(store):
    """Five clips in three parts."""
    store.merge_clips([clip_row(i) for i in range(5)])
    for members in ([0, 1], [2, 3], [4]):
        fill(store, members)
    return store


@pytest.fixture
def filled(store):
    return fill_three_parts(store)


def harm_part(store, how):
    row = store.snapshot().stream("toy").locations[clip_id(2)]
    part = f"streams/toy/{TOY.fingerprint}/parts/{row.part_id}.zarr"
    if how == "lose a part":
        store.files.remove(part)
    elif how == "lose its metadata":
        store.files.remove(f"{part}/zarr.json")
    else:
        store.files.write(f"{part}/salience/c/0", b"torn")


def harm_table(store, table, how):
    files = store.files
    if how == "lose rows":
        files.remove(table_files(store, table)[0])
    elif how == "cut rows":
        files.write(table_files(store, table)[0], b"PAR1")
    elif how == "lose the table":
        files.remove(table)
    else:
        commit = newest_commit(store, table)
        files.write(commit, b"" if how == "empty commit" else files.read(commit)[:60])


@on_every_ground
def test_both_kinds_of_harm_at_once_are_mended_on_any_ground(store):
    fill_three_parts(store)
    harm_part(store, "tear a part")
    harm_table(store, EXTRACTIONS, "lose rows")
    assert len(errors(store)) == 1  # without its rows, the torn part is nobody's
    assert all(step.is_mended for step in mend(store))
    extract(store)
    assert_whole(store, 5)


@pytest.mark.parametrize("how", ["lose a part", "lose its metadata", "tear a part"])
def test_clips_of_a_lost_or_damaged_part_are_made_again_and_no_others(filled, how):
    harm_part(filled, how)
    assert len(errors(filled)) == 1
    (step,) = mend(filled)
    assert step.is_mended
    assert "2 rows taken back" in step.what
    assert [row["clip_id"] for row in filled.snapshot().outstanding("toy", TOY.fingerprint).to_pylist()] == [
        clip_id(2),
        clip_id(3),
    ]
    extract(filled)
    assert_whole(filled, 5)
    assert mend(filled) == []


@pytest.mark.parametrize("how", ["lose rows", "cut rows", "lose the table", "empty commit", "torn commit"])
def test_extractions_are_made_anew_from_the_parts(filled, how):
    harm_table(filled, EXTRACTIONS, how)
    assert errors(filled)
    assert all(step.is_mended for step in mend(filled))
    assert filled.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 0
    assert_whole(filled, 5)
    assert mend(filled) == []
    filled.merge_clips([clip_row(5)])
    extract(filled)
    assert_whole(filled, 6)


def test_table_that_lost_rows_keeps_its_history(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    before = store.snapshot().extractions_version
    harm_table(store, EXTRACTIONS, "lose rows")
    mend(store)
    assert store.snapshot().extractions_version > before


def test_failed_clips_are_tried_again_after_the_table_was_made_anew(store):
    store.merge_clips([clip_row(i) for i in range(2)])
    fill(store, [0])
    failed = ExtractionRow.failed(clip_id(1), "toy", TOY.fingerprint, stage="decode", kind="vanished", message="gone")
    store.commit([failed])
    harm_table(store, EXTRACTIONS, "lose the table")
    step = mend(store)[0]
    assert "without the clips that had failed" in step.what
    (coverage,) = store.snapshot().coverage()
    assert (coverage.n_ok, coverage.n_failed, coverage.n_missing) == (1, 0, 1)


@pytest.mark.parametrize("harm", ["commit", "checkpoint"])
def test_clips_survive_a_torn_commit_or_checkpoint(store, harm):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    if harm == "commit":
        store.merge_clips([clip_row(1)])
        harm_table(store, CLIPS, "torn commit")
    else:
        from deltalake import DeltaTable

        DeltaTable(store.files.table_uri(CLIPS)).create_checkpoint()
        (checkpoint,) = (key for key in keys_below(store.files, CLIPS) if ".checkpoint." in key)
        store.files.write(checkpoint, b"PAR1")
    assert errors(store)
    assert [step.is_mended for step in mend(store)] == [True]
    assert store.snapshot().n_clips == 1
    assert_whole(store, 1)
    store.merge_clips([clip_row(1)])
    assert store.snapshot().n_clips == 2


def test_clips_whose_rows_are_lost_are_left_to_a_backup_and_a_table_that_is_gone_begins_empty(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    harm_table(store, CLIPS, "lose rows")
    (step,) = mend(store)
    assert not step.is_mended
    assert "restore clips/ from a backup; without one, delete that folder" in step.what
    store.files.remove(CLIPS)
    (step,) = mend(store)
    assert step.is_mended
    store.merge_clips([clip_row(0)])
    assert_whole(store, 1)


@pytest.mark.parametrize("change", [{"first_row": 1}, {"n_rows": 2}])
def test_row_that_contradicts_its_part_is_written_anew_from_it(store, change):
    store.merge_clips([clip_row(i) for i in range(2)])
    part_id, _ = store.write_part(TOY, {clip_id(1): toy_arrays(1)})
    (row,) = fill(store, [0])
    store.commit([replace(row, **({"clip_id": clip_id(1), "part_id": part_id, "first_row": 0, "n_rows": 4} | change))])
    assert len(errors(store)) == 1
    mend(store)
    assert store.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 0
    assert_whole(store, 2)


def test_clip_without_a_row_in_a_part_that_others_name_is_adopted(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    fill(store, [0, 1, 2])
    store.requeue("toy", TOY.fingerprint, [clip_id(1)])
    (step,) = mend(store)
    assert step.what == "1 clips of it are in the catalogue again"
    assert_whole(store, 3)


@pytest.mark.parametrize("harm", ["lose", "change"])
def test_description_is_written_anew_where_its_fingerprint_is_known_and_never_guessed(store, harm):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])
    key = spec_key("toy", TOY.fingerprint)
    other = replace(TOY, version=2)
    store.files.remove(key) if harm == "lose" else store.files.write(key, other.to_json().encode())
    (step,) = mend(store, specs=(other,))
    assert not step.is_mended
    assert "by --set" in step.what
    (step,) = mend(store, specs=(other, TOY))
    assert step.is_mended
    assert_whole(store, 1)
    assert store.files.exists(f"{part_of(store, row)}/zarr.json")


@pytest.mark.parametrize("how", ["tear a part", "lose rows", "lose the table", "torn commit"])
def test_dry_run_says_the_same_and_changes_nothing(store, how):
    fill_three_parts(store)
    harm_part(store, how) if how == "tear a part" else harm_table(store, EXTRACTIONS, how)
    before = {key: store.files.read(key) for key in keys_below(store.files, "")}
    would = mend(store, dry_run=True)
    assert {key: store.files.read(key) for key in keys_below(store.files, "")} == before
    assert would
    assert {step.where for step in would} <= {step.where for step in mend(store)}
