"""The contract of the catalogue, on every ground: what is committed is seen once, and what is pinned stays."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from deltalake.exceptions import DeltaError

from storage_schema.errors import ContractError, InputError, StoreError
from storage_schema.history import list_snapshots
from tests.storage_schema.conftest import (
    TOY,
    clip_id,
    clip_row,
    failed_row,
    fill,
    keys_below,
    on_every_ground,
    toy_arrays,
)

pytestmark = on_every_ground


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


def test_snapshot_beyond_every_commit_number_is_refused(store):
    with pytest.raises(InputError, match="has no commit"):
        len(store.snapshot(f"{10**30}-0").clips)


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


def test_clip_whose_bytes_changed_says_what_it_replaced(store):
    store.merge_clips([clip_row(0, clip_id=clip_id(5), replaced_clip_id=clip_id(0)), clip_row(1)])
    rows = {row["clip_id"]: row["was_replaced"] for row in store.snapshot().outstanding("toy", "f" * 32).to_pylist()}
    assert rows == {clip_id(5): True, clip_id(1): False}


def test_rows_of_bytes_that_were_replaced_are_no_longer_counted(store):
    store.merge_clips([clip_row(0), clip_row(1)])
    fill(store, [0, 1])
    store.merge_clips([clip_row(0, clip_id=clip_id(9))])
    (coverage,) = store.snapshot().coverage()
    assert (coverage.n_clips, coverage.n_ok, coverage.n_missing) == (2, 1, 1)


def test_forgotten_file_leaves_the_catalogue_and_others_stay(store):
    store.merge_clips([clip_row(0, uri="it's; -- gone.wav"), clip_row(1)])
    store.forget_clips("toys", ["it's; -- gone.wav"])
    assert store.snapshot().clips["uri"].to_pylist() == ["a/1.wav"]


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


def test_clip_that_is_not_among_many_is_a_key_error(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    with pytest.raises(KeyError):
        store.snapshot().stream("toy").read_all().clip(clip_id(1))


def test_commit_that_names_one_clip_twice_is_refused_whole(store):
    with pytest.raises(ContractError, match="same clip_id, stream, fingerprint"):
        store.commit([failed_row(0), failed_row(0, "gone again", minute=1)])
    assert store.snapshot()._extractions("clip_id").is_empty()


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
    # The raw rows, because the reader's dictionary would hide a second one.
    rows = store.snapshot()._extractions("clip_id")
    assert sorted(rows["clip_id"].to_list()) == [clip_id(i) for i in range(12)]


def test_history_names_every_snapshot_and_what_was_done(store):
    store.merge_clips([clip_row(0), clip_row(1)])
    fill(store, [0])
    store.commit([failed_row(1)])
    store.merge_clips([clip_row(2)])
    moments = list_snapshots(store)
    assert [(moment.snapshot_id, moment.what) for moment in moments] == [
        ("1-0", "2 clips written"),
        ("1-1", "toy: 1 extracted"),
        ("1-2", "toy: 0 extracted, 1 failed"),
        ("2-2", "1 clips written"),
    ]
    assert moments[-1].snapshot_id == store.snapshot().id
    assert [moment.snapshot_id for moment in list_snapshots(store, 2)] == ["1-2", "2-2"]


@pytest.mark.parametrize("harm", ["log is cut short", "rows are gone", "rows are cut short"])
def test_damaged_table_is_named_in_one_line(store, harm):
    store.merge_clips([clip_row(0)])
    keys = sorted(keys_below(store.files, "clips"))
    rows = [key for key in keys if key.endswith(".parquet")]
    log = [key for key in keys if key.endswith(".json")]
    assert (len(rows), len(log)) == (1, 2)
    if harm == "rows are gone":
        store.files.remove(rows[0])
    else:
        harmed = log[-1] if harm == "log is cut short" else rows[0]
        store.files.write(harmed, store.files.read(harmed)[:50])
    with pytest.raises(
        StoreError, match=r"the table clips at .* cannot be read: .*; `timbrel verify` says more"
    ) as caught:
        len(store.snapshot().clips)
    assert "\n" not in str(caught.value)


ARROW = "\n          \x1b[31m↳\x1b[0m "
"""How deltalake puts an error's cause below it, now and then."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(f"Generic LocalFileSystem error{ARROW}Unable to copy{ARROW}No space left on device (os error 28)\n"),
        DeltaError("Failed to parse parquet: External: Generic LocalFileSystem error: No space left on device\n 1:"),
    ],
    ids=["errno", "causes drawn as a tree", "causes in a line"],
)
def test_table_that_cannot_be_written_is_a_sentence(store, monkeypatch, error):
    def full_disk(_merger):
        raise error

    monkeypatch.setattr("deltalake.table.TableMerger.execute", full_disk)
    with pytest.raises(StoreError, match=r"table clips .* cannot be written: .*No space left .*; make room") as caught:
        store.merge_clips([clip_row(0)])
    assert not any(noise in str(caught.value) for noise in ("\n", "\x1b", "Generic"))


@pytest.mark.parametrize("read_bytes", [1, 60, 10_000])
def test_clips_read_piece_by_piece_are_those_read_at_once(store, read_bytes):
    store.merge_clips([clip_row(i) for i in range(8)])
    fill(store, [3, 0, 7, 1, 5])
    fill(store, [4, 6])
    toy = store.snapshot().stream("toy")
    order = [clip_id(i) for i in (7, 4, 0, 5)]
    found = toy.read_all(order, arrays=["salience"], read_bytes=read_bytes)
    assert list(found.arrays) == ["salience"]
    np.testing.assert_array_equal(found.arrays["salience"], toy.read_all(order).arrays["salience"])
    assert found.arrays["salience"].tolist() == [i for i in (7, 4, 0, 5) for _ in range(3 + i)]


def test_array_that_a_stream_has_not_is_refused_with_those_it_has(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    with pytest.raises(InputError, match="no array 'loudness'; it has level, salience"):
        store.snapshot().stream("toy").read_all(arrays=["loudness"])
