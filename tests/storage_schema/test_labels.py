"""Embeddings of labels lie beside their stream, whole, and say what is wrong where they are not."""

import numpy as np
import pytest

from storage_schema.errors import InputError, StoreError
from storage_schema.labels import LabelEmbeddings
from storage_schema.layout import labels_key
from tests.storage_schema.conftest import TOY, clip_row, fill, on_every_ground

pytestmark = on_every_ground

DOG = LabelEmbeddings(("dog", "<b>rain"), ("a dog", "rain"), np.eye(2, 3, dtype=np.float32), 14.5, {"tokenizer": "ab"})


def read(store):
    return store.snapshot().label_embeddings("toy", TOY.fingerprint)


def test_what_is_written_is_read_and_replaced_by_what_is_written_next(store):
    assert read(store) is None
    store.write_label_embeddings(TOY, DOG)
    found = read(store)
    assert (found.labels, found.prompts, found.scale, found.read_by) == (DOG.labels, DOG.prompts, 14.5, DOG.read_by)
    np.testing.assert_array_equal(found.of(["<b>rain", "dog"]), DOG.vectors[::-1])
    more = LabelEmbeddings(("cat",), ("a cat",), np.eye(3, dtype=np.float32)[2:], 14.5, DOG.read_by)
    store.write_label_embeddings(TOY, found.joined(more))
    assert read(store).missing(["cat", "dog", "emu"]) == ["emu"]
    with pytest.raises(InputError, match="'emu'"):
        read(store).of(["emu"])


def test_they_are_neither_a_part_nor_in_the_way_of_one(store):
    store.write_label_embeddings(TOY, DOG)
    store.merge_clips(clip_row(i) for i in (1, 2))
    fill(store, [1, 2])
    assert store.recover(TOY) == 0
    assert len(store.snapshot().stream("toy").clip_ids) == 2
    assert read(store) is not None


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_damage_is_a_sentence_that_says_what_to_run(store, content):
    store.files.write(labels_key("toy", TOY.fingerprint), content)
    with pytest.raises(StoreError, match=r"labels\.parquet is damaged.*timbrel extract --streams toy"):
        read(store)


def test_numbers_that_are_none_are_damage(store):
    store.write_label_embeddings(TOY, LabelEmbeddings(("dog",), ("a dog",), np.full((1, 3), np.nan, np.float32), 1.0))
    with pytest.raises(StoreError, match="no numbers"):
        read(store)
