"""Whatever is harmed in a store is found, named, and comes with what to run; nothing else is complained of."""

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_schema import open_store
from storage_schema.files import SCRATCH
from storage_schema.layout import CLIPS, EXTRACTIONS, spec_key
from storage_schema.store import READABLE_VERSIONS
from storage_schema.upkeep.compact import compact
from storage_schema.upkeep.repair import repair
from storage_schema.upkeep.verify import verify
from tests.storage_schema.conftest import TOY, clip_id, clip_row, fill, keys_below, on_every_ground, part_of, toy_arrays

GOLDEN = Path(__file__).parents[2] / "golden"


def look(store, streams=None):
    return list(verify(store, streams, lambda *_: None))


def errors(store):
    return [finding for finding in look(store) if finding.severity == "error"]


def table_files(store, table):
    return [key for key in keys_below(store.files, table) if key.endswith(".parquet") and "/_delta_log/" not in key]


def newest_commit(store, table):
    return max(key for key in keys_below(store.files, f"{table}/_delta_log") if key.endswith(".json"))


@on_every_ground
def test_whole_store_has_no_findings_and_progress_counts_its_parts(store):
    store.merge_clips([clip_row(i) for i in range(4)])
    fill(store, [0, 1])
    fill(store, [2])
    told = []
    assert list(verify(store, None, lambda *words: told.append(words))) == []
    assert [words[1:] for words in told] == [(1, 2), (2, 2)]


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete file", "delete metadata", "delete part"])
def test_harmed_part_is_an_error_that_names_the_part_and_the_commands(store, harm):
    store.merge_clips([clip_row(i) for i in range(3)])
    row = fill(store, [0, 1])[0]
    fill(store, [2])
    files, part = store.files, part_of(store, row)
    chunk = next(key for key in keys_below(files, f"{part}/level") if "/c/" in key)
    content = files.read(chunk)
    if harm == "flip":
        files.write(chunk, content[:5] + bytes([content[5] ^ 1]) + content[6:])
    elif harm == "truncate":
        files.write(chunk, content[:-1])
    elif harm == "empty":
        files.write(chunk, b"")
    else:
        files.remove({"delete file": chunk, "delete metadata": f"{part}/zarr.json", "delete part": part}[harm])
    (found,) = look(store)
    assert (found.severity, found.where) == ("error", part)
    assert "2 clips" in found.what
    assert found.remedy == "`timbrel repair`, then `timbrel extract --streams toy`"
    assert look(store, ["other"]) == []


@pytest.fixture(scope="module")
def three_parts(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("verify") / "store", create=True)
    store.merge_clips([clip_row(i) for i in range(6)])
    return store, [fill(store, [i, i + 1])[0] for i in (0, 2, 4)]


@given(part=st.integers(0, 2), file=st.integers(0), place=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_any_flipped_bit_of_any_file_of_a_part_is_found(three_parts, part, file, place, bit):
    store, rows = three_parts
    where = part_of(store, rows[part])
    keys = sorted(keys_below(store.files, where))
    key = keys[file % len(keys)]
    content = store.files.read(key)
    harmed = bytearray(content)
    harmed[place % len(content)] ^= 1 << bit
    path = store.files.path(key)
    path.write_bytes(harmed)
    try:
        assert [found.where for found in errors(store)] == [where]
    finally:
        path.write_bytes(content)


def test_part_of_schema_version_1_cannot_be_faked_by_losing_its_hashes(store):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])
    key = f"{part_of(store, row)}/zarr.json"
    store.files.write(key, store.files.read(key).replace(b'"files"', b'"filed"'))
    assert len(errors(store)) == 1


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_store_of_every_released_version_is_verified_repaired_and_compacted(tmp_path, version):
    shutil.copytree(GOLDEN / f"store_v{version}", tmp_path / "store")
    store = open_store(tmp_path / "store")
    before = store.snapshot().stream("toy").read_all()
    assert look(store) == []
    assert list(repair(store, (), None, lambda *_: None, dry_run=False)) == []
    assert next(compact(store.files, None, lambda *_: None)).n_after == 1
    assert errors(store) == []
    after = store.snapshot().stream("toy").read_all()
    assert after.clip_ids == before.clip_ids
    assert all((values == after.arrays[name]).all() for name, values in before.arrays.items())


def test_writer_at_work_is_no_finding(store):
    store.merge_clips([clip_row(i) for i in range(6)])
    writer = threading.Thread(target=lambda: [fill(store, [i]) for i in range(6)])
    writer.start()
    while writer.is_alive():
        assert errors(store) == []
    writer.join()
    assert look(store) == []


@on_every_ground
def test_whole_part_without_a_row_is_information_and_a_damaged_one_too(store):
    store.merge_clips([clip_row(0)])
    orphan, _ = store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    torn, _ = store.write_part(TOY, {clip_id(1): toy_arrays(1)})
    store.files.write(f"streams/toy/{TOY.fingerprint}/parts/{torn}.zarr/length/zarr.json", b"{")
    found = {finding.where.rpartition("/")[2]: finding for finding in look(store)}
    assert found.keys() == {f"{orphan}.zarr", f"{torn}.zarr"}
    assert {finding.severity for finding in found.values()} == {"information"}
    assert "adopts" in found[f"{orphan}.zarr"].remedy
    assert found[f"{torn}.zarr"].remedy == "`timbrel gc` removes it"


def test_part_whose_frames_do_not_match_its_clips_is_an_error(store):
    store.merge_clips([clip_row(0)])
    part_id, entries = store.write_part(TOY, {clip_id(0): toy_arrays(0)}, {clip_id(0): 60.0})
    rows = fill(store, [1])
    store.commit([replace(rows[0], clip_id=clip_id(0), part_id=part_id, first_row=0, n_rows=entries[0].n_rows)])
    (found,) = errors(store)
    assert "has 3 frames where its audio gives 2401" in found.what


@pytest.mark.parametrize("change", [{"first_row": 1}, {"n_rows": 2}, {"clip_id": clip_id(9)}])
def test_row_that_contradicts_its_part_is_an_error(store, change):
    store.merge_clips([clip_row(i) for i in range(2)])
    part_id, _ = store.write_part(TOY, {clip_id(i): toy_arrays(i) for i in range(2)})
    rows = fill(store, [0])
    right = replace(rows[0], clip_id=clip_id(1), part_id=part_id, first_row=3, n_rows=4)
    store.commit([replace(right, **change)])
    (found,) = errors(store)
    assert part_id in found.where
    assert "the rows of 1 of 1 clips say otherwise" in found.what


@pytest.mark.parametrize("harm", ["delete", "tear", "replace"])
def test_description_that_is_lost_or_changed_is_an_error(store, harm):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    key = spec_key("toy", TOY.fingerprint)
    if harm == "delete":
        store.files.remove(key)
    else:
        store.files.write(key, b"{" if harm == "tear" else replace(TOY, version=2).to_json().encode())
    (found,) = errors(store)
    assert found.where == key
    assert "its 1 parts were not checked" in found.what


@pytest.mark.parametrize("table", [CLIPS, EXTRACTIONS])
@pytest.mark.parametrize("harm", ["delete rows", "cut rows", "delete table", "empty commit", "torn commit"])
def test_harmed_table_is_an_error(store, table, harm):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    files, (rows,), commit = store.files, table_files(store, table), newest_commit(store, table)
    if harm == "delete rows":
        files.remove(rows)
    elif harm == "cut rows":
        files.write(rows, files.read(rows)[:50])
    elif harm == "delete table":
        files.remove(table)
    else:
        files.write(commit, b"" if harm == "empty commit" else files.read(commit)[:60])
    found = errors(store)
    assert found
    assert all(finding.where.startswith(table) for finding in found)
    assert all("`timbrel repair`" in finding.remedy for finding in found)


def test_commit_that_is_missing_before_a_checkpoint_is_an_error(store):
    for i in range(3):
        store.merge_clips([clip_row(i)])
    store.files.remove(f"{CLIPS}/_delta_log/{1:020}.json")
    assert "commit 1 is missing" in {finding.what for finding in errors(store)}


def test_results_of_a_run_that_cannot_be_read_are_an_error(store):
    with store.new_run("fine") as folder:
        (folder / "metrics.json").write_text("{}")
    assert errors(store) == []
    store.files.write("runs/fine/metrics.json", b'{"cut')
    (found,) = errors(store)
    assert found.where == "runs/fine/metrics.json"


def test_leftovers_of_killed_commands_are_information_once_they_are_a_day_old(store):
    for name in ("old", "fresh"):
        store.files.path(f"{SCRATCH}/{name}").mkdir(parents=True)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(store.files.path(f"{SCRATCH}/old"), (two_days_ago, two_days_ago))
    (found,) = look(store)
    assert (found.severity, found.where) == ("information", f"{SCRATCH}/old")
