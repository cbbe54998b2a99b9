"""A disk that fails in mid-run costs a sentence and some batches; the same command again finishes the work."""

import os

import numpy as np
import pytest

from storage_schema import open_store
from storage_schema.errors import StoreError
from tests.bad_input.cases import OF_A_DISK
from tests.bad_input.disk import MODES, N_BEFORE, N_CLIPS, WAVEFORM, run_apart, words_for_own_mounts


@pytest.mark.parametrize("promise", OF_A_DISK)
def test_a_disk_that_fails_in_mid_run_is_a_sentence_and_nothing_committed_is_lost(promise, tmp_path):
    before = words_for_own_mounts(tmp_path)
    if before is None:
        pytest.skip("no file system can be mounted here: unshare --user --mount is refused")
    found = run_apart(MODES[promise], tmp_path, before)
    print(f"{promise}: {found['first']['n_whole']} of {N_CLIPS} clips kept; {found['first']['told']}")
    words = {"full": "No space left on device", "readonly": "Read-only file system"}[MODES[promise]]
    assert words in found["first"]["told"]
    assert "make room or mend the rights, and run the same command again" in found["first"]["told"]
    assert N_BEFORE <= found["first"]["n_whole"] < N_CLIPS
    assert found["again"] == {"n_whole": N_CLIPS, "n_wanted": 0}
    assert not found["left"]


def test_files_that_may_not_grow_are_a_sentence_and_the_work_is_done_when_they_may(tmp_path):
    found = run_apart("limit", tmp_path)
    assert "File too large" in found["first"]["told"]
    assert found["first"]["n_whole"] == N_BEFORE
    assert found["again"] == {"n_whole": N_CLIPS, "n_wanted": 0}
    assert not found["left"]


def test_a_disk_that_flushes_nothing_leaves_no_part_behind(tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(28, os.strerror(28))

    store = open_store(tmp_path / "store", create=True)
    features = {"00" * 16: {"samples": np.zeros((3, 400), "int16")}}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="No space left"):
            store.write_part(WAVEFORM, features)
    assert not [path for path in (tmp_path / "store" / "streams").rglob("*") if path.is_file()]
    assert len(store.write_part(WAVEFORM, features)[1]) == 1
