"""Every bad input ends as a row or as one clear sentence, and none of them stops the run or hangs it."""

import json
import subprocess
import sys

import pytest

from tests.bad_input.cases import CASES, OF_A_DISK, PROMISED

PATIENCE_S = 240
"""A pipe that somebody opens is waited for without end; the whole takes some fifteen seconds."""


@pytest.fixture(scope="module")
def outcomes():
    """All outcomes, from a process of their own that can be ended if it hangs."""
    command = [sys.executable, "-m", "tests.bad_input", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_input_of_the_promise_is_left_out(outcomes):
    assert {outcome["promise"] for outcome in outcomes} | {*OF_A_DISK} == {*PROMISED}
    assert len({case.file for case in CASES}) == len(CASES) > len(PROMISED)


def test_every_bad_input_ends_as_it_should(outcomes):
    for outcome in outcomes:
        print(f"{outcome['promise']}: {outcome['found']}")  # for pytest -s; the table is `python -m tests.bad_input`
    surprises = [outcome for outcome in outcomes if outcome["found"] != outcome["expected"]]
    assert not surprises


def test_every_failure_is_a_sentence_that_names_the_file_and_says_what_to_do(outcomes):
    told = [outcome for outcome in outcomes if not outcome["found"].startswith("ok")]
    assert len(told) > 15
    for outcome in told:
        name = outcome["file"].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        assert name in outcome["words"] or outcome["found"] == "StoreError", outcome
        assert "Traceback" not in outcome["words"]
        assert len(outcome["words"]) > len(name) + 20
