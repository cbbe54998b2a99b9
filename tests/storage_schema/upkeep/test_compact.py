"""Fewer, larger parts with the same bytes in them, while others read and write."""

import threading

import numpy as np
import pytest

from storage_schema.layout import EXTRACTIONS, spec_key
from storage_schema.parts import Part, read_audio_s, read_index, read_library_versions, write_part
from storage_schema.upkeep.compact import SmallPart, compact, plan_merges
from tests.storage_schema.conftest import TOY, clip_id, clip_row, fill, on_every_ground, part_of, toy_arrays
from tests.storage_schema.upkeep.test_verify import errors, table_files

AUDIO_S = {clip_id(i): (2.5 + i) * 0.025 for i in range(20)}
"""Of clips that have 3 + i frames."""


def run(store, **options):
    return list(compact(store.files, None, lambda *_: None, **options))


def named_parts(store):
    return store.snapshot().part_ids("toy", TOY.fingerprint)


def commit_part(store, members, audio_s=None, versions=None):
    """Put clips into a part that says what it was made of; its id."""
    store.files.write(spec_key("toy", TOY.fingerprint), TOY.to_json().encode())
    part, _ = write_part(store.files, TOY, {clip_id(i): toy_arrays(i) for i in members}, audio_s, versions)
    assert store.recover(TOY) == len(members)
    return part.part_id


def assert_reads(snapshot, members):
    toy = snapshot.stream("toy")
    assert toy.clip_ids == tuple(map(clip_id, members))
    for i in members:
        for name, expected in toy_arrays(i).items():
            np.testing.assert_array_equal(toy.read(clip_id(i))[name], expected)
    np.testing.assert_array_equal(toy.read_all().arrays["salience"], [i for i in members for _ in range(3 + i)])


@on_every_ground
def test_small_parts_become_one_with_the_same_bytes_and_a_pinned_reader_notices_nothing(store):
    store.merge_clips([clip_row(i) for i in range(6)])
    for members in ([3, 0], [5], [1, 4], [2]):
        fill(store, members)
    pinned = store.snapshot()
    before = pinned.stream("toy").read_all()
    of_parts, _, of_rows = run(store)
    assert (of_parts.n_before, of_parts.n_after) == (4, 1)
    assert (of_rows.n_before, of_rows.n_after) == (1, 1)
    (merged,) = named_parts(store)
    index = read_index(Part(store.files, TOY, merged))
    assert [entry.clip_id for entry in index] == [clip_id(i) for i in range(6)]
    after = store.snapshot().stream("toy").read_all()
    assert after.clip_ids == before.clip_ids
    for name, values in before.arrays.items():
        assert values.tobytes() == after.arrays[name].tobytes()
    assert_reads(pinned, range(6))
    assert errors(store) == []
    assert run(store)[0].n_before == 1


def test_nothing_is_merged_twice(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    for i in range(3):
        fill(store, [i])
    run(store)
    before = store.snapshot().id
    run(store)
    assert store.snapshot().id == before


def test_seconds_of_audio_and_library_versions_are_carried_over_and_never_mixed(store):
    store.merge_clips([clip_row(i) for i in range(6)])
    of_old = [commit_part(store, [i], AUDIO_S, {"numpy": "1"}) for i in (0, 1)]
    of_new = [commit_part(store, [i], AUDIO_S, {"numpy": "2"}) for i in (2, 3)]
    silent = [commit_part(store, [i], None, {"numpy": "2"}) for i in (4, 5)]
    assert len({*of_old, *of_new, *silent}) == 6
    assert run(store)[0].n_after == 3
    found = set()
    for part_id in named_parts(store):
        part = Part(store.files, TOY, part_id)
        audio_s = read_audio_s(part)
        ids = [entry.clip_id for entry in read_index(part)]
        assert audio_s is None or audio_s == [AUDIO_S[clip_id] for clip_id in ids]
        found.add((read_library_versions(part)["numpy"], audio_s is None, *ids))
    assert found == {
        ("1", False, clip_id(0), clip_id(1)),
        ("2", False, clip_id(2), clip_id(3)),
        ("2", True, clip_id(4), clip_id(5)),
    }
    assert errors(store) == []


def test_damaged_part_is_not_merged_and_stays_an_error(store):
    store.merge_clips([clip_row(i) for i in range(4)])
    torn = fill(store, [0])[0]
    for i in range(1, 4):
        fill(store, [i])
    key = f"{part_of(store, torn)}/salience/c/0"
    content = store.files.read(key)
    store.files.write(key, bytes([content[0] ^ 1]) + content[1:])
    assert run(store)[0].n_after == 2
    assert torn.part_id in named_parts(store)
    assert [finding.where for finding in errors(store)] == [part_of(store, torn)]


def test_clips_whose_rows_were_taken_back_are_left_behind(store):
    store.merge_clips([clip_row(i) for i in range(4)])
    fill(store, [0, 1])
    fill(store, [2, 3])
    store.requeue("toy", TOY.fingerprint, [clip_id(1)])
    run(store)
    (merged,) = named_parts(store)
    assert [e.clip_id for e in read_index(Part(store.files, TOY, merged))] == [clip_id(i) for i in (0, 2, 3)]
    assert_reads(store.snapshot(), [0, 2, 3])


def test_row_written_anew_during_a_merge_is_left_alone(store, monkeypatch):
    store.merge_clips([clip_row(i) for i in range(3)])
    fill(store, [0])
    fill(store, [1])
    newer = []

    def write_part_and_meanwhile(*arguments):
        result = write_part(*arguments)
        store.requeue("toy", TOY.fingerprint, [clip_id(0)])
        newer.extend(fill(store, [0, 2]))
        return result

    monkeypatch.setattr("storage_schema.upkeep.compact.write_part", write_part_and_meanwhile)
    run(store)
    assert store.snapshot().stream("toy").locations[clip_id(0)].part_id == newer[0].part_id
    assert_reads(store.snapshot(), range(3))
    assert errors(store) == []


@on_every_ground
def test_writers_commit_while_parts_are_merged_and_lose_nothing(store):
    store.merge_clips([clip_row(i) for i in range(8)])
    fill(store, [0])
    fill(store, [1])
    failures = []

    def write():
        try:
            for i in range(2, 8):
                fill(store, [i])
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        run(store)
    writer.join()
    run(store)
    assert failures == []
    assert len(named_parts(store)) == 1
    assert_reads(store.snapshot(), range(8))
    assert errors(store) == []


def test_small_files_of_a_table_become_one(store):
    store.merge_clips([clip_row(i) for i in range(5)])
    for i in range(5):
        fill(store, [i])
    assert run(store, target_bytes=0)[2].n_before == 5
    assert run(store, target_bytes=0)[2].n_before == 1
    assert len(table_files(store, EXTRACTIONS)) == 6
    assert_reads(store.snapshot(), range(5))


@pytest.mark.parametrize(
    ("sizes", "merges"),
    [
        ("", []),
        ("a4", []),
        ("a4 b4", ["ab"]),
        ("a4 b5 c4", ["ac"]),
        ("a4 b4 c4 d4", ["ab", "cd"]),
        ("a2 b3 c3 d4 e1", ["abc", "de"]),
        ("c1 a1 b1", ["abc"]),
    ],
)
def test_plan_takes_parts_under_half_the_target_up_to_the_target(sizes, merges):
    parts = [SmallPart(word[0], int(word[1:]), "") for word in sizes.split()]
    assert plan_merges(parts, 10) == [list(merge) for merge in merges]


def test_plan_mixes_nothing_that_was_made_differently():
    parts = [SmallPart("a", 1, "x"), SmallPart("b", 1, "y"), SmallPart("c", 1, "x"), SmallPart("d", 1, "z")]
    assert plan_merges(parts, 10) == [["a", "c"]]
