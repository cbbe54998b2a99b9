"""The contract of parts, on every ground: named by their content, whole or nothing, and read as numbers only if so."""

import json
from dataclasses import replace

import numpy as np
import pytest

from storage_schema.errors import StoreError
from storage_schema.files import SCRATCH
from storage_schema.layout import parts_key, spec_key
from storage_schema.parts import Part, check_part, read_index, read_rows
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid
from tests.storage_schema.conftest import TOY, clip_id, clip_row, fill, keys_below, on_every_ground, toy_arrays

pytestmark = on_every_ground


def test_part_explains_itself(store):
    store.merge_clips([clip_row(i) for i in range(3)])
    rows = fill(store, [2, 0])
    index = read_index(Part(store.files, TOY, rows[0].part_id))
    assert [(entry.clip_id, entry.first_row, entry.n_rows) for entry in index] == [
        (clip_id(2), 0, 5),
        (clip_id(0), 5, 3),
    ]


def test_part_that_was_not_committed_does_not_exist(store):
    store.merge_clips([clip_row(0)])
    store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    assert store.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 1


def test_part_is_named_by_its_content_and_written_twice_is_one(store):
    first, _ = store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    assert store.write_part(TOY, {clip_id(0): toy_arrays(0)})[0] == first
    assert store.write_part(TOY, {clip_id(1): toy_arrays(1)})[0] != first
    part = Part(store.files, TOY, first)
    store.files.write(f"{part.key}/level/c/0/0", b"torn")
    assert check_part(part) == "level/c/0/0 was changed"
    store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    assert check_part(part) is None


def test_whole_part_that_nobody_committed_is_adopted_and_a_damaged_one_is_not(store):
    store.merge_clips([clip_row(i) for i in range(4)])
    fill(store, [0])
    store.write_part(TOY, {clip_id(i): toy_arrays(i) for i in (1, 2)}, {clip_id(1): 0.08, clip_id(2): 0.1})
    torn, _ = store.write_part(TOY, {clip_id(3): toy_arrays(3)})
    store.files.remove(f"{Part(store.files, TOY, torn).key}/salience/c/0")
    assert store.recover(TOY) == 2
    assert store.recover(TOY) == 0
    toy = store.snapshot().stream("toy")
    assert toy.clip_ids == tuple(map(clip_id, range(3)))
    np.testing.assert_array_equal(toy.read(clip_id(2))["level"], toy_arrays(2)["level"])


def test_lost_part_is_outstanding_and_its_clips_can_be_made_again(store):
    store.merge_clips([clip_row(i) for i in range(2)])
    (row,) = fill(store, [1])
    # Not by deleting one: SeaweedFS goes on listing an emptied folder for a while, as S3 itself does not.
    store.commit([replace(row, clip_id=clip_id(0), part_id="ab" * 16)])
    (lost,) = store.snapshot().outstanding("toy", TOY.fingerprint).to_pylist()
    assert (lost["clip_id"], lost["is_lost"], lost["failure"]) == (clip_id(0), True, None)
    store.requeue("toy", TOY.fingerprint, [clip_id(0)])
    assert store.snapshot().coverage()[0].n_missing == 1
    fill(store, [0])
    assert store.snapshot().outstanding("toy", TOY.fingerprint).num_rows == 0


@pytest.mark.parametrize("harm", ["delete part", "delete file", "flip", "truncate"])
def test_damaged_part_is_named_and_never_read_as_numbers(store, harm):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])  # clip 0 is all zeros: a lost file must not pass for it
    part = Part(store.files, TOY, row.part_id)
    (chunk,) = keys_below(store.files, f"{part.key}/level/c")
    content = bytearray(store.files.read(chunk))
    if harm == "delete part":
        store.files.remove(part.key)
    elif harm == "delete file":
        store.files.remove(chunk)
    elif harm == "flip":
        content[5] ^= 0xFF
        store.files.write(chunk, bytes(content))
    else:
        store.files.write(chunk, bytes(content[:10]))
    assert check_part(part) is not None
    with pytest.raises(StoreError, match=row.part_id):
        store.snapshot().stream("toy").read(clip_id(0))


def test_part_without_its_index_is_named(store):
    store.merge_clips([clip_row(0)])
    (row,) = fill(store, [0])
    part = Part(store.files, TOY, row.part_id)
    store.files.remove(f"{part.key}/offset")
    with pytest.raises(StoreError, match=rf"part {row.part_id} of stream toy is damaged"):
        read_index(part)


def test_description_that_was_changed_is_refused(store):
    store.merge_clips([clip_row(0)])
    fill(store, [0])
    store.files.write(spec_key("toy", TOY.fingerprint), replace(TOY, version=2).to_json().encode())
    with pytest.raises(StoreError, match=f"where that of {TOY.fingerprint} belongs"):
        store.snapshot().stream("toy")


def test_interrupted_write_leaves_no_part(store, monkeypatch):
    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage_schema.parts.write_array", full_disk)
    with pytest.raises(StoreError, match="No space left on device; make room"):
        store.write_part(TOY, {clip_id(0): toy_arrays(0)})
    assert store.files.entries(parts_key("toy", TOY.fingerprint)) == []
    assert store.files.entries(SCRATCH) == []


def test_chunks_are_a_thousand_frames_or_as_many_numbers_as_are_worth_the_way(store):
    spec = StreamSpec(
        "sized",
        "test",
        1,
        FrameGrid(16_000, 400),
        (ArraySpec("wide", "uint8", "1", "", (360,)), ArraySpec("single", "float32", "Hz", "")),
    )
    generator = np.random.default_rng(0)
    arrays = {
        "wide": generator.integers(0, 256, (20_000, 360), np.uint8),
        "single": generator.standard_normal(20_000, np.float32),
    }
    store.merge_clips([clip_row(0)])
    part_id, _ = store.write_part(spec, {clip_id(0): arrays})
    part = Part(store.files, spec, part_id)
    (found,) = read_rows(part, ["wide", "single"], read_index(part))
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
    codecs = {name: json.loads(store.files.read(f"{part.key}/{name}/zarr.json"))["codecs"] for name in arrays}
    chunks = {name: codec[0]["configuration"]["chunk_shape"][0] for name, codec in codecs.items()}
    assert chunks == {"wide": 1_024, "single": 8_192}
