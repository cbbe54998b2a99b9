"""The run in use is a file that is replaced whole, on a disk and on S3."""

import pytest

from storage_schema import open_store
from storage_schema.errors import StoreError
from storage_schema.promotion import Promotion, read_promotion, write_promotion
from tests.storage_schema.conftest import on_every_ground

FIRST = Promotion("my recordings", "run-1", "run-1", "abc", "it is the first", "2026-01-01T00:00:00+00:00")


@on_every_ground
def test_promotion_is_read_back_and_replaced(store):
    assert read_promotion(store.files, "my recordings") is None
    write_promotion(store.files, FIRST)
    assert read_promotion(store.files, "my recordings") == FIRST
    second = Promotion("my recordings", "run-2", "run-3", "def", "better", "2026-01-02T00:00:00+00:00")
    write_promotion(store.files, second)
    assert read_promotion(store.files, "my recordings") == second
    assert read_promotion(store.files, "others") is None


def test_damaged_file_and_names_too_alike_are_said(tmp_path):
    files = open_store(tmp_path / "store", create=True).files
    write_promotion(files, FIRST)
    with pytest.raises(StoreError, match=r"is of dataset 'my recordings', whose name is too like 'my-recordings'"):
        read_promotion(files, "my-recordings")
    for content in (b"", b"{", b"[]", b'{"dataset": "my recordings"}'):
        files.write("promoted/my-recordings.json", content)
        with pytest.raises(StoreError, match=r"promoted/my-recordings\.json does not say which run is in use"):
            read_promotion(files, "my recordings")
