"""What cannot be trained on is one sentence before a run exists; what can be, by a rule, is said in the run's notes."""

import pytest

from tests.bad_input.disk import run_apart, words_for_own_mounts
from tests.bad_input.training import CASES, FULL_DISK, PROMISED, told

MODULE = "tests.bad_input.training"


def test_no_input_of_the_promise_is_left_out():
    assert {case.promise for case in CASES} | {FULL_DISK} == {*PROMISED}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.promise}: {case.told[:30]}")
def test_every_bad_input_is_one_sentence_or_a_note(case, tmp_path):
    error, words = told(tmp_path, case)
    assert error == case.error, words
    assert case.told in words
    assert "Traceback" not in words


def test_a_full_disk_at_checkpoint_time_is_a_sentence_and_keeps_what_was_fitted(tmp_path):
    before = words_for_own_mounts(tmp_path)
    if before is None:
        pytest.skip("no file system can be mounted here: unshare --user --mount is refused")
    check(run_apart("full", tmp_path, before, module=MODULE), "No space left on device")


def test_a_checkpoint_that_may_not_grow_is_a_sentence_and_keeps_what_was_fitted(tmp_path):
    check(run_apart("limit", tmp_path, module=MODULE), "File too large")


def check(found, words):
    assert "run a-run cannot be written" in found["told"]
    assert words in found["told"]
    assert (found["runs"], found["left"]) == ([], [])
    assert found["n_kept"] > 1
    assert found["runs_after"] == ["a-run"]  # with --resume, once there is room
    assert found["left_after"] == []
