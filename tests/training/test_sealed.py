import json
import os
from pathlib import Path

import pytest

from storage_schema.regular import read_regular
from training.sealed import SEAL, sealed, unsealed


def test_a_sealed_document_is_read_back() -> None:
    document = {"task": "single_label", "labels": ["Bär", "\ud800"], "share": 0.1}
    assert unsealed(sealed({**document, "labels": ["Bär"]})) == {**document, "labels": ["Bär"]}


@pytest.mark.parametrize(
    ("edit", "clause"),
    [
        (lambda text: text.replace("single", "multi"), "was changed after it was written"),
        (lambda text: text[:-10], "is not JSON"),
        (lambda text: "[" * 100_000, "is not JSON"),
        (lambda text: "[]", "is no JSON object"),
        (lambda text: json.dumps({name: value for name, value in json.loads(text).items() if name != SEAL}), "changed"),
    ],
)
def test_an_edited_document_is_noticed(edit, clause: str) -> None:
    with pytest.raises(ValueError, match=clause):
        unsealed(edit(sealed({"task": "single_label"}).decode()).encode())


def test_only_regular_files_of_a_bearable_length_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == read_regular(tmp_path / "file") == b"12345"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / "pipe", 5)
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_regular(tmp_path / "file", 4)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
