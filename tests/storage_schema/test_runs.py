"""The contract of runs, on every ground."""

import pytest

from storage_schema.errors import InputError
from storage_schema.store import RUN_MARKER
from tests.storage_schema.conftest import keys_below, on_every_ground

pytestmark = on_every_ground


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "x" * 200, "a\0b", ".hidden"])
def test_name_that_would_leave_the_store_is_refused(store, name):
    with pytest.raises(InputError, match="is no name for a run"):
        store.has_run(name)


def write_run(store, run_id, metrics="{}"):
    with store.new_run(run_id) as folder:
        (folder / RUN_MARKER).write_text(metrics)
        (folder / "fold_1").mkdir()
        (folder / "fold_1" / "model.safetensors").write_bytes(b"weights")


def test_run_reads_back_as_the_folder_it_was_written_as(store):
    write_run(store, "esc50-1", "{1}")
    assert store.has_run("esc50-1")
    with store.open_run("esc50-1") as folder:
        assert (folder / RUN_MARKER).read_text() == "{1}"
        assert (folder / "fold_1" / "model.safetensors").read_bytes() == b"weights"


def test_run_that_failed_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.new_run("esc50-1") as folder:
        (folder / RUN_MARKER).write_text(str(1 // 0))
    assert not store.has_run("esc50-1")
    assert store.runs() == []
    assert list(keys_below(store.files, "runs")) == []


def test_run_is_written_only_once(store):
    write_run(store, "esc50-1", "{1}")
    with pytest.raises(FileExistsError, match="written only once"):
        write_run(store, "esc50-1", "{2}")
    with store.open_run("esc50-1") as folder:
        assert (folder / RUN_MARKER).read_text() == "{1}"


def test_runs_are_listed_once_they_are_finished(store):
    store.files.write("runs/killed/recipe.toml", b"")
    for name in ("b", "a"):
        write_run(store, name)
    assert sorted(store.runs()) == ["a", "b"]  # a bucket tells times in whole seconds, too coarse for an order here


def test_file_added_to_a_run_lies_beside_its_own_and_can_be_replaced(store):
    write_run(store, "esc50-1")
    for content in (b"old", b"new"):
        where = store.add_to_run("esc50-1", "report.html", content)
    assert where == f"{store.uri}/runs/esc50-1/report.html"
    with store.open_run("esc50-1") as folder:
        assert (folder / "report.html").read_bytes() == b"new"
        assert store.has_run("esc50-1")
