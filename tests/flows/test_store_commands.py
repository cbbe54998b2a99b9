"""ingest, plan, extract, status: exit codes, tables, JSON, and one clear sentence where the question is wrong."""

import json
import os

import pytest

import pipeline.extraction
from tests.pipeline.conftest import write_sine

CHEAP = ("--streams", "waveform,logmel", "--workers", "1")


def test_from_a_folder_to_a_covered_store(timbrel, ingested):
    code, out, _ = timbrel("plan", "--store", ingested, "--streams", "waveform", "--no-probe")
    assert code == 0
    assert "0 of 4" in out
    assert "new clip: 4" in out
    code, out, err = timbrel("extract", "--store", ingested, *CHEAP)
    assert code == 0
    assert out.count("4 of 4") == 2
    assert "waveform: 4 of 4" in err
    code, out, _ = timbrel("status", "--store", ingested)
    assert code == 0
    assert "audio: 4 clips" in out
    assert out.count("4 of 4") == 2


def test_plan_says_what_the_rest_costs_by_history_by_a_probe_or_not_at_all(timbrel, ingested, audio):
    timbrel("extract", "--store", ingested, "--streams", "waveform", "--workers", "1")
    write_sine(audio / "new.wav", 700, 0.2)
    timbrel("ingest", "folder", audio, "--store", ingested)
    ask = ("plan", "--store", ingested, "--streams", "waveform,timbre", "--workers", "1")
    code, out, err = timbrel(*ask)
    assert code == 0
    assert "on 1 worker, " in out
    assert "by trying a few clips of timbre" in out
    assert "probing timbre: 1 of 1" in err
    assert "waveform" not in err
    code, out, err = timbrel(*ask, "--no-probe")
    assert (code, err) == (0, "")
    assert "unknown" in out
    assert "timbre unknown: never extracted, and not probed" in out
    code, out, err = timbrel(*ask, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    streams = {name: stream["estimate"] for name, stream in document["streams"].items()}
    assert {name: each["source"] for name, each in streams.items()} == {"waveform": "history", "timbre": "probe"}
    total = document["estimate"]
    assert total["bytes"] == sum(each["bytes"] for each in streams.values()) > 0
    assert total["wall_s"] > sum(each["work_s"] for each in streams.values()) > 0
    assert (total["workers"], total["is_complete"]) == (1, True)


def test_second_extract_computes_nothing_and_starts_no_cluster(timbrel, ingested, monkeypatch):
    timbrel("extract", "--store", ingested, *CHEAP)
    monkeypatch.setattr(pipeline.extraction, "open_cluster", lambda *_: pytest.fail("a cluster was started"))
    code, out, _ = timbrel("extract", "--store", ingested, *CHEAP, "--json")
    assert code == 0
    assert json.loads(out)["computed"] == {"waveform": 0, "logmel": 0}


def test_new_files_and_one_changed_parameter_recompute_just_that(timbrel, ingested, audio):
    timbrel("extract", "--store", ingested, *CHEAP)
    for i in range(3):
        write_sine(audio / "new" / f"{i}.wav", 700 + i, 0.2)
    timbrel("ingest", "folder", audio, "--store", ingested)
    out = timbrel("extract", "--store", ingested, *CHEAP, "--json")[1]
    assert json.loads(out)["computed"] == {"waveform": 3, "logmel": 3}
    out = timbrel("extract", "--store", ingested, *CHEAP, "--set", "waveform.hop=200", "--json")[1]
    assert json.loads(out)["computed"] == {"waveform": 7, "logmel": 0}


def test_failed_clip_shows_in_the_exit_code_and_in_the_status(timbrel, ingested, audio):
    os.remove(audio / "low" / "0.wav")
    (audio / "low" / "[red]fake[].wav").write_text("text")
    assert timbrel("ingest", "folder", audio, "--store", ingested)[0] == 0
    code, out, _ = timbrel("extract", "--store", ingested, *CHEAP)
    assert code == 1
    assert out.count("3 of 5") == 2
    assert "`timbrel quarantine list` says what failed" in out
    code, out, _ = timbrel("status", "--store", ingested, "--json")
    problems = json.loads(out)["problems"]
    assert {(p["uri"], p["kind"]) for p in problems} == {
        ("low/0.wav", "vanished"),
        ("low/[red]fake[].wav", "undecodable"),
    }
    assert all(os.path.basename(p["uri"]) in p["message"] for p in problems)
    assert "[red]" in timbrel("status", "--store", ingested)[1]
    assert timbrel("extract", "--store", ingested, *CHEAP)[0] == 1
    write_sine(audio / "low" / "0.wav", 200, 0.3)
    out = timbrel("extract", "--store", ingested, *CHEAP, "--retry-failed", "--json")[1]
    assert json.loads(out) | {"audio_s": 0, "elapsed_s": 0} == {
        "computed": {"waveform": 1, "logmel": 1},
        "adopted": {"waveform": 0, "logmel": 0},
        "failed": {"waveform": 1, "logmel": 1},
        "failed_before": {"waveform": 0, "logmel": 0},
        "notes": [],
        "audio_s": 0,
        "elapsed_s": 0,
    }


def test_snapshot_named_by_status_reads_the_older_state(timbrel, ingested):
    before = json.loads(timbrel("status", "--store", ingested, "--json")[1])["snapshot"]
    timbrel("extract", "--store", ingested, *CHEAP)
    assert json.loads(timbrel("status", "--store", ingested, "--snapshot", before, "--json")[1])["coverage"] == []
    plan = json.loads(timbrel("plan", "--store", ingested, "--snapshot", before, "--no-probe", "--json")[1])
    assert plan["streams"]["pitch"]["wanted"] == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ingest", "folder", "nowhere"), "nowhere does not exist"),
        (("ingest", "flacs", "."), "choose from"),
        (("plan",), "there is no timbrel store"),
        (("status",), "there is no timbrel store"),
        (("train", "missing.toml"), "missing.toml cannot be read"),
        (("run", "folder", "nowhere"), "nowhere does not exist"),
    ],
)
def test_wrong_question_is_one_sentence_and_writes_nothing(timbrel, tmp_path, words, sentence):
    store = tmp_path / "store"
    code, out, err = timbrel(*words, "--store", store)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert out == ""
    assert not store.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--streams", "pich"), "there is no stream 'pich'; choose from pitch"),
        (("--streams", ","), "names no stream"),
        (("--set", "pitch"), "write STREAM.PARAMETER=VALUE"),
        (("--set", "pitch.modl=full"), "no parameter modl; it has model"),
        (("--set", "pitch.model=huge"), "huge"),
        (("--set", "pitch.hop=0.5"), "whole number"),
        (("--set", f"pitch.hop={100_000 * '['}"), "whole number"),
        (("--set", "logmel.hop=400"), "logmel is not among the streams"),
        (("--snapshot", "latest"), "looks like 3-12"),
        (("--snapshot", "999-0"), "no commit 999"),
    ],
)
def test_wrong_stream_parameter_or_snapshot_is_one_sentence(timbrel, ingested, words, sentence):
    code, out, err = timbrel("plan", "--store", ingested, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_store_of_another_schema_version_is_refused(timbrel, ingested):
    (ingested / "timbrel.json").write_text('{"schema_version": 3}')
    for command in (("status",), ("extract",), ("ingest", "folder", ingested.parent / "audio")):
        code, _, err = timbrel(*command, "--store", ingested)
        assert code == 2
        assert "schema version 3, this timbrel writes 2 and reads 1 and 2" in err


def test_status_lists_the_runs_that_evaluate_and_predict_take(timbrel, ingested):
    for i in range(12):
        marker = ingested / "runs" / f"audio-{i:02}" / "metrics.json"
        marker.parent.mkdir(parents=True)
        marker.touch()
        os.utime(marker, (i, i))
    (ingested / "runs" / "unfinished").mkdir()
    out = timbrel("status", "--store", ingested)[1]
    assert "the newest first: audio-11, audio-10, " in out
    assert out.endswith("audio-02; 2 older ones\n")


def test_unknown_run_names_those_there_are(timbrel, ingested):
    code, _, err = timbrel("evaluate", "yesterday", "--store", ingested)
    assert code == 2
    assert "no run 'yesterday'; its newest: none yet" in err


def test_weights_are_listed_with_their_licences(timbrel):
    code, out, _ = timbrel("weights", "list", "--json")
    assert code == 0
    licences = {entry["name"]: entry["licence"] for entry in json.loads(out)}
    assert licences["crepe-tiny"] == "MIT"
    code, _, err = timbrel("weights", "pull", "vggish")
    assert code == 2
    assert "choose from" in err


@pytest.mark.parametrize(
    "command",
    [
        "ingest",
        "plan",
        "extract",
        "status",
        "train",
        "evaluate",
        "predict",
        "run",
        "demo",
        "weights list",
        "weights add",
        "quarantine list",
        "quarantine retry",
        "quarantine forget",
    ],
)
def test_help_of_every_command_shows_an_example(timbrel, command):
    code, out, _ = timbrel(*command.split(), "--help")
    assert code == 0
    assert f"Example: timbrel {command}" in out
