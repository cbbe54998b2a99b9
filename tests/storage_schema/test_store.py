"""The store's contract: what is committed is seen, what is pinned stays, what is damaged is named."""

import json
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.errors import ContractError, InputError, StoreError
from storage_schema.parts import read_index
from storage_schema.tables import CLIPS, EXTRACTIONS, ClipRow, ExtractionRow
from tests.storage_schema.conftest import TOY, clip_id, clip_row, fill, toy_arrays


def failed_row(i, message="gone", minute=0):
    row = ExtractionRow.failed(clip_id(i), "toy", TOY.fingerprint, stage="decode", kind="vanished", message=message)
    return replace(row, finished_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC))


def test_row_classes_have_the_columns_of_their_tables():
    for row, schema in ((ClipRow, CLIPS), (ExtractionRow, EXTRACTIONS)):
        assert list(row.__dataclass_fields__) == schema.names
        assert all(field.metadata[b"meaning"] for field in schema)


def test_what_was_written_reads_back_clip_by_clip_and_all_together(store):
    store.merge_clips([clip_row(i) for i in range(5)])
    fill(store, [3, 0, 1])
    fill(store, [4])
    toy = store.snapshot().stream("toy")
    assert toy.clip_ids == tuple(map(clip_id, [0, 1, 3, 4]))
    assert toy.spec == TOY
    for i in (0, 1, 3, 4):
        found = toy.read(clip_id(i))
        for name, expected in toy_arrays(i).items():
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].dtype == expected.dtype
    everything = toy.read_all()
    assert list(everything.n_frames) == [3, 4, 6, 7]
    np.testing.assert_array_equal(everything.clip(clip_id(3))["salience"], [3] * 6)
    order = toy.read_all([clip_id(4), clip_id(0)])
    np.testing.assert_array_equal(order.arrays["salience"], [4] * 7 + [0] * 3)


def test_xarray_has_times_units_and_channel_names(store):
    store.merge_clips([clip_row(2)])
    fill(store, [2])
    dataset = store.snapshot().stream("toy").to_xarray(clip_id(2))
    np.testing.assert_allclose(dataset.time, [0, 0.025, 0.05, 0.075, 0.1])
    assert list(dataset.level_channel) == ["low", "high"]
    assert dataset.level.attrs["units"] == "dB"
    np.testing.assert_allclose(dataset.salience, 2 / 255, rtol=1e-6)


def test_snapshot_sees_one_state_for_ever(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    fill(store, [0])
    before = store.snapshot()
    fill(store, [1])
    store.merge_clips([clip_row(7)])
    again = store.snapshot(before.id)
    for state in (before, again):
        assert state.clips.num_rows == 3
        assert state.stream("toy").clip_ids == (clip_id(0),)
    assert store.snapshot().clips.num_rows == 4
    with pytest.raises(InputError, match="no commit 99"):
        _ = store.snapshot("99-0").clips
    with pytest.raises(InputError, match="looks like 3-12"):
        store.snapshot("yesterday")


def test_first_of_two_extractions_of_one_clip_stays(store):
    store.merge_clips([clip_row(0)])
    first = fill(store, [0])
    fill(store, [0])
    assert store.snapshot().stream("toy").locations[clip_id(0)].part_id == first[0].part_id
    assert store.snapshot().coverage()[0].n_ok == 1


def test_failed_try_is_counted_once_however_often_it_is_committed_and_success_ends_it(store):
    store.merge_clips([clip_row(0)])
    for row in (failed_row(0), failed_row(0), failed_row(0, "gone again", minute=1)):
        store.commit([row])
    (problem,) = store.snapshot().problems().to_pylist()
    assert (problem["attempts"], problem["message"], problem["uri"]) == (2, "gone again", "a/0.wav")
    fill(store, [0])
    assert store.snapshot().problems().num_rows == 0
    store.commit([failed_row(0, minute=59)])
    assert store.snapshot().coverage()[0].n_ok == 1


def test_clip_that_could_not_be_hashed_is_listed_among_the_problems(store):
    store.merge_clips([clip_row(0, clip_id=None, problem_kind="unreadable", problem="a/0.wav: permission denied")])
    (problem,) = store.snapshot().problems().to_pylist()
    assert (problem["stream"], problem["kind"]) == (None, "unreadable")
    assert store.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 0


def test_outstanding_names_earlier_failures_other_fingerprints_and_every_path(store):
    other = replace(TOY, version=2)
    store.merge_clips([clip_row(i) for i in range(4)] + [clip_row(0, uri="copy.wav")])
    fill(store, [0], other)
    fill(store, [1])
    store.commit([failed_row(2)])
    rows = {row["clip_id"]: row for row in store.snapshot().outstanding("toy", TOY.fingerprint).to_pylist()}
    assert set(rows) == {clip_id(0), clip_id(2), clip_id(3)}
    assert sorted(rows[clip_id(0)]["uri"]) == ["a/0.wav", "copy.wav"]
    assert rows[clip_id(0)]["other_fingerprint"] == other.fingerprint
    assert rows[clip_id(2)]["failure"] == "vanished"
    assert rows[clip_id(3)]["failure"] is None
    assert rows[clip_id(3)]["other_fingerprint"] is None


def test_rows_of_bytes_that_were_replaced_are_no_longer_counted(store):
    store.merge_clips([clip_row(0), clip_row(1)])
    fill(store, [0, 1])
    store.merge_clips([clip_row(0, clip_id=clip_id(9))])
    (coverage,) = store.snapshot().coverage()
    assert (coverage.n_clips, coverage.n_ok, coverage.n_missing) == (2, 1, 1)


def test_newest_fingerprint_is_the_default_and_others_can_be_named(store):
    other = replace(TOY, version=2)
    store.merge_clips([clip_row(0)])
    fill(store, [0], other, datetime(2026, 1, 2, tzinfo=UTC))
    fill(store, [0], TOY, datetime(2026, 1, 1, tzinfo=UTC))
    snapshot = store.snapshot()
    assert snapshot.stream("toy").fingerprint == other.fingerprint
    assert snapshot.stream("toy", TOY.fingerprint).fingerprint == TOY.fingerprint
    with pytest.raises(InputError, match="nothing of stream pitch; it has toy"):
        snapshot.stream("pitch")


def test_part_explains_itself(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    rows = fill(store, [2, 0])
    index = read_index(store.layout.part("toy", TOY.fingerprint, rows[0].part_id))
    assert [(entry.clip_id, entry.first_row, entry.n_rows) for entry in index] == [
        (clip_id(2), 0, 5),
        (clip_id(0), 5, 3),
    ]


def test_part_that_was_not_committed_does_not_exist(store):
    store.merge_clips([clip_row(0)])
    store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    assert store.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 1


@pytest.mark.parametrize("harm", ["delete part", "delete file", "flip", "truncate"])
def test_damaged_part_is_named_and_never_read_as_numbers(store, harm):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])  # clip 0 is all zeros: a lost file must not pass for it
    part = store.layout.part("toy", TOY.fingerprint, row.part_id)
    (chunk,) = (path for path in (part / "level" / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    if harm == "delete part":
        shutil.rmtree(part)
    elif harm == "delete file":
        chunk.unlink()
    elif harm == "flip":
        content[5] ^= 0xFF
        chunk.write_bytes(content)
    else:
        chunk.write_bytes(content[:10])
    with pytest.raises(StoreError, match=row.part_id):
        store.snapshot().stream("toy").read(clip_id(0))


def test_part_without_its_index_is_named(store):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])
    part = store.layout.part("toy", TOY.fingerprint, row.part_id)
    shutil.rmtree(part / "offset")
    with pytest.raises(StoreError, match=rf"part {row.part_id}\.zarr is damaged"):
        read_index(part)


def test_description_that_was_changed_is_refused(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    path = store.layout.spec("toy", TOY.fingerprint)
    path.write_text(replace(TOY, version=2).to_json())
    with pytest.raises(StoreError, match=f"where that of {TOY.fingerprint} belongs"):
        store.snapshot().stream("toy")


def test_clip_that_is_not_among_many_is_a_key_error(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    with pytest.raises(KeyError):
        store.snapshot().stream("toy").read_all().clip(clip_id(1))


def test_commit_that_names_one_clip_twice_is_refused_whole(store):
    with pytest.raises(ContractError, match="same clip_id, stream, fingerprint"):
        store.commit([failed_row(0), failed_row(0, "gone again", minute=1)])
    assert store.snapshot()._extractions.is_empty()


def test_table_that_cannot_be_written_is_a_sentence(store, monkeypatch):
    def full_disk(_merger):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deltalake.table.TableMerger.execute", full_disk)
    with pytest.raises(StoreError, match=r"table clips .* cannot be written: .*No space left"):
        store.merge_clips([clip_row(0)])


@pytest.mark.parametrize("harm", ["log is cut short", "rows are gone", "rows are cut short"])
def test_damaged_table_is_named_in_one_line(store, harm):
    store.merge_clips([clip_row(0)])
    rows = list(store.layout.clips.glob("*.parquet"))
    log = sorted(store.layout.clips.glob("_delta_log/*.json"))
    assert (len(rows), len(log)) == (1, 2)
    if harm == "rows are gone":
        rows[0].unlink()
    else:
        harmed = log[-1] if harm == "log is cut short" else rows[0]
        harmed.write_bytes(harmed.read_bytes()[:50])
    with pytest.raises(StoreError, match=r"the table clips at .* cannot be read: .*; restore it") as caught:
        len(store.snapshot().clips)
    assert "\n" not in str(caught.value)


def test_snapshot_beyond_every_commit_number_is_refused(store):
    with pytest.raises(InputError, match="has no commit"):
        len(store.snapshot(f"{10**30}-0").clips)


def test_interrupted_write_leaves_no_part(store, monkeypatch):
    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage_schema.parts._write_array", full_disk)
    with pytest.raises(StoreError, match="No space left on device; make room"):
        store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    parts = store.layout.stream("toy", TOY.fingerprint) / "parts"
    assert list(parts.iterdir()) == []


def test_writers_that_race_lose_no_row_and_make_none_twice(store):
    store.merge_clips([clip_row(i) for i in range(12)])
    errors = []

    def write(first):
        try:
            for i in range(first, first + 8):  # the two overlap in four clips
                fill(store, [i])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    rows = store.snapshot()._extractions  # the raw rows, because the reader's dictionary would hide a second one
    assert sorted(rows["clip_id"].to_list()) == [clip_id(i) for i in range(12)]


def test_opening_what_is_no_store_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="timbrel ingest"):
        open_store(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(StoreError, match=r"not empty \(it holds 'thesis\.doc'\)"):
        open_store(tmp_path, create=True)
    with pytest.raises(InputError, match="not a local folder"):
        open_store("s3://bucket/store", create=True)
    with pytest.raises(InputError, match="write the path out"):
        open_store("~nobody-has-this-name/store", create=True)


def test_store_in_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    def forbidden(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", forbidden)  # root, who may read everything, runs tests too
    with pytest.raises(StoreError, match="Permission denied; mend its rights"):
        open_store(tmp_path / "s")


def test_store_of_another_schema_version_is_refused_with_both_named(store):
    store.layout.marker.write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(StoreError, match="schema version 99, this timbrel reads and writes 1"):
        open_store(store.uri)
    store.layout.marker.write_text("[]")
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(store.uri)


def test_half_made_store_is_finished_by_the_next_call(tmp_path):
    made = open_store(tmp_path / "s", create=True)
    made.layout.marker.rename(tmp_path / "s" / ".timbrel.json.0123.tmp")  # killed between writing and renaming
    assert open_store(tmp_path / "s", create=True).snapshot().clips.num_rows == 0


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "x" * 200, "a\0b", ".hidden"])
def test_name_that_would_leave_the_store_is_refused(store, name):
    with pytest.raises(InputError, match="is no name for a run"):
        store.run_folder(name)
