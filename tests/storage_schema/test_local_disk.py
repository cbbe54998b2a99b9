"""What is so only where a store lies on a disk."""

import os
from pathlib import Path

import pytest

from storage_schema import catalogue, open_store
from storage_schema.errors import InputError, StoreError
from storage_schema.parts import Part
from storage_schema.store import READABLE_VERSIONS, SCHEMA_VERSION
from tests.storage_schema.conftest import TOY, clip_row, fill

GOLDEN = Path(__file__).parents[1] / "golden"


def test_opening_what_is_no_store_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="timbrel ingest"):
        open_store(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(StoreError, match=r"not empty \(it holds 'thesis\.doc'\)"):
        open_store(tmp_path, create=True)
    with pytest.raises(InputError, match="neither a local folder nor s3"):
        open_store("gs://bucket/store", create=True)
    with pytest.raises(InputError, match="write the path out"):
        open_store("~nobody-has-this-name/store", create=True)


def test_store_in_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    def forbidden(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", forbidden)  # root, who may read everything, runs tests too
    with pytest.raises(StoreError, match="Permission denied; mend that"):
        open_store(tmp_path / "s")


def test_every_byte_of_a_part_is_flushed_before_the_commit_that_names_it(store, monkeypatch):
    store.merge_clips([clip_row(0)])
    done = []
    fsync, rename, commit = os.fsync, Path.rename, catalogue.commit_change

    def told_fsync(descriptor):
        fsync(descriptor)
        done.append(("flushed", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    def told_rename(path, target):
        inside = [file.relative_to(path) for file in path.rglob("*")] if path.is_dir() else []
        rename(path, target)
        done.append(("renamed", path, Path(target), inside))
        return Path(target)

    def told_commit(*words):
        done.append(("commit begins",))
        commit(*words)
        done.append(("commit ended",))

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(Path, "rename", told_rename)
    monkeypatch.setattr(catalogue, "commit_change", told_commit)
    (row,) = fill(store, [0])
    path = Path(store.uri, Part(store.files, TOY, row.part_id).key)
    ((scratch, inside),) = [(event[1], event[3]) for event in done if event[0] == "renamed" and event[2] == path]
    renamed = done.index(("renamed", scratch, path, inside))
    begins, ended = done.index(("commit begins",)), done.index(("commit ended",))
    assert len(inside) > 10
    for file in (Path(), *inside):
        assert ("flushed", scratch / file) in done[:renamed], f"{file} was not flushed before the part was placed"
    assert ("flushed", path.parent) in done[renamed:begins], "the part's name was not flushed before the commit"
    for folder in path.relative_to(store.uri).parents:
        assert ("flushed", Path(store.uri, folder)) in done[:begins], f"{folder} was not flushed before the commit"
    table = Path(store.uri, "extractions")
    log = max((table / "_delta_log").glob("*.json"))
    partitions = [path for path in table.rglob("*=*") if path.is_dir()]
    assert len(partitions) == 2
    for what in (log, log.parent, table, *table.rglob("*.parquet"), *partitions):
        assert ("flushed", what) in done[begins:ended], f"{what} was not flushed when the commit was said to be done"


def test_there_is_a_store_of_every_schema_version():
    assert sorted(path.name for path in GOLDEN.glob("store_v*")) == [f"store_v{n}" for n in READABLE_VERSIONS]
    assert READABLE_VERSIONS[-1] == SCHEMA_VERSION
