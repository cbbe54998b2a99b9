"""quarantine list, retry, forget: what failed is shown, tried again by its own parameters, or never happened."""

import json
import os
from dataclasses import replace

import pytest

from features.registry import spec_for
from storage_schema import open_store
from storage_schema.tables import ExtractionRow
from tests.pipeline.conftest import write_sine

CHEAP = ("--streams", "waveform", "--workers", "1")


@pytest.fixture
def failed(timbrel, ingested, audio):
    """A store in which one of five clips vanished, one is no sound, and a file could never be read."""
    (audio / "low" / "text.wav").write_text("text")
    (audio / "low" / "folder.wav").symlink_to("nowhere")
    assert timbrel("ingest", "folder", audio, "--store", ingested)[0] == 1
    os.rename(audio / "low" / "0.wav", audio / "elsewhere")
    assert timbrel("extract", "--store", ingested, *CHEAP)[0] == 1
    return ingested


def failures(timbrel, store, *words):
    code, out, _ = timbrel("quarantine", "list", "--store", store, "--json", *words)
    assert code == 0
    return {(each["uri"], each["stage"], each["kind"], each["attempts"]) for each in json.loads(out)["failures"]}


VANISHED = ("low/0.wav", "decode", "vanished", 1)
NO_SOUND = ("low/text.wav", "decode", "undecodable", 1)
UNREAD = ("low/folder.wav", "ingest", "vanished", 1)


def test_list_shows_every_failure_with_its_cause_and_the_coverage(timbrel, failed):
    assert failures(timbrel, failed) == {VANISHED, NO_SOUND, UNREAD}
    code, out, _ = timbrel("quarantine", "list", "--store", failed)
    assert code == 0
    assert "3 of 5 clips, 2 in quarantine" in out
    assert failures(timbrel, failed, "--kind", "undecodable") == {NO_SOUND}
    assert failures(timbrel, failed, "--stream", "waveform", "--kind", "vanished") == {VANISHED}
    assert failures(timbrel, failed, "--stream", "pitch") == set()
    assert failures(timbrel, failed, "--snapshot", "0-0") == set()


def test_retry_tries_the_named_again_and_nothing_else(timbrel, failed, audio):
    write_sine(audio / "new.wav")
    os.rename(audio / "elsewhere", audio / "low" / "0.wav")
    assert timbrel("ingest", "folder", audio, "--store", failed)[0] == 1
    code, out, _ = timbrel("quarantine", "retry", "low/0.wav", "--store", failed, "--workers", "1")
    assert (code, out) == (0, "1 of 1 are good now\n")
    assert failures(timbrel, failed) == {NO_SOUND, UNREAD}
    code, out, _ = timbrel("quarantine", "retry", "--store", failed, "--workers", "1")
    assert code == 1
    assert "0 of 1 are good now" in out
    assert "1 could not be read at ingest" in out
    assert failures(timbrel, failed, "--stream", "waveform") == {(*NO_SOUND[:3], 2)}
    (coverage,) = open_store(failed).snapshot().coverage()
    assert (coverage.n_ok, coverage.n_clips) == (4, 6)  # the new clip was not asked for


def test_retry_uses_the_parameters_of_the_failure(timbrel, failed, audio):
    words = (*CHEAP, "--set", "waveform.hop=200")
    assert timbrel("extract", "--store", failed, *words)[0] == 1
    os.rename(audio / "elsewhere", audio / "low" / "0.wav")
    words = ("--kind", "vanished", "--stream", "waveform", "--workers", "1")
    code, out, _ = timbrel("quarantine", "retry", "--store", failed, *words)
    assert (code, out) == (0, "2 of 2 are good now\n")
    coverage = open_store(failed).snapshot().coverage()
    assert [entry.n_ok for entry in coverage] == [4, 4]


def test_retry_says_which_streams_this_timbrel_makes_no_more(timbrel, ingested):
    store = open_store(ingested)
    old = replace(spec_for("waveform"), version=99)
    clip_id = store.snapshot().clips["clip_id"][0].as_py()
    store.files.write(f"streams/waveform/{old.fingerprint}/spec.json", old.to_json().encode())
    store.commit(
        [ExtractionRow.failed(clip_id, "waveform", old.fingerprint, stage="extract", kind="extractor", message="no")]
    )
    code, out, _ = timbrel("quarantine", "retry", "--store", ingested)
    assert code == 1
    assert f"waveform {old.fingerprint[:8]}: 1 stay, because this version of timbrel" in out


def test_what_is_forgotten_counts_as_never_tried(timbrel, failed):
    code, out, _ = timbrel("quarantine", "forget", "audio/low/text.wav", "--store", failed)
    assert (code, out) == (0, "1 failures forgotten, 0 unreadable files taken out of the catalogue\n")
    assert failures(timbrel, failed) == {VANISHED, UNREAD}
    plan = json.loads(timbrel("plan", "--store", failed, "--streams", "waveform", "--no-probe", "--json")[1])
    assert plan["streams"]["waveform"]["reasons"] == {"new clip": 1}
    code, out, _ = timbrel("quarantine", "forget", "--all", "--store", failed)
    assert (code, out) == (0, "1 failures forgotten, 1 unreadable files taken out of the catalogue\n")
    assert failures(timbrel, failed) == set()
    assert open_store(failed).snapshot().clips.num_rows == 5
    assert "nothing in quarantine" in timbrel("quarantine", "list", "--store", failed)[1]


def test_file_that_could_be_read_once_is_not_forgotten_with_its_features(timbrel, failed, audio):
    os.remove(audio / "high" / "2.wav")
    (audio / "high" / "2.wav").symlink_to("nowhere")
    assert timbrel("ingest", "folder", audio, "--store", failed)[0] == 1
    code, out, _ = timbrel("quarantine", "forget", "--kind", "vanished", "--store", failed)
    assert code == 0
    assert "1 files that could be read before and cannot now stay" in out
    (coverage,) = open_store(failed).snapshot().coverage()
    assert coverage.n_ok == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("forget",), "say which, by name, --stream or --kind, or --all"),
        (("forget", "--all", "--kind", "empty"), "--all leaves no choice"),
        (("list", "--kind", "tired"), "choose from vanished"),
        (("retry", "high/3.wav"), "high/3.wav is not in quarantine"),
    ],
)
def test_wrong_question_about_failures_is_one_sentence(timbrel, ingested, words, sentence):
    code, out, err = timbrel("quarantine", *words, "--store", ingested)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
