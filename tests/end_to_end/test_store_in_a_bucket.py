"""The whole way with the store in a bucket, and the recordings too, on a real S3 server.

What works for long is a process of its own, so that all that it and its workers print is seen.
"""

import json
import re

import pytest

from storage_schema.bucket import Bucket
from tests.end_to_end.conftest import RECIPE, add_clips, timbrel_out_err

STREAMS = "timbre,waveform"
PROCESSES = {"extract", "train"}


@pytest.fixture
def folder(tmp_path):
    """Six clips of each class, and a recipe for two cheap streams."""
    add_clips(tmp_path / "esc50", 0, 18)
    recipe = RECIPE.replace("[data]", '[data]\nstreams = ["timbre", "waveform"]')
    (tmp_path / "recipe.toml").write_text(recipe)
    return tmp_path


def test_from_recordings_to_a_reported_model_with_everything_in_a_bucket(folder, s3, s3_uri, timbrel_here):
    audio, store = Bucket(f"{s3_uri}/audio"), f"{s3_uri}/store"
    for path in (path for path in (folder / "esc50").rglob("*") if path.is_file()):
        audio.put(path.relative_to(folder / "esc50").as_posix(), path)
    words = ("--store", store)
    said = []

    def timbrel(*command):
        if command[0] in PROCESSES:
            out, err = timbrel_out_err(folder, *command, *words, "--json")
        else:
            code, out, err = timbrel_here(*command, *words, "--json")
            assert code == 0, err
        said.extend((out, err))
        return json.loads(out)

    assert timbrel("ingest", "esc50", audio.uri)["n_new"] == 18
    assert timbrel("extract", "--streams", STREAMS, "--workers", "2")["computed"] == {"timbre": 18, "waveform": 18}
    assert timbrel("extract", "--streams", STREAMS)["computed"] == {"timbre": 0, "waveform": 0}
    trained = timbrel("train", "recipe.toml")
    run_id = trained["run_id"]
    assert trained["report"] == f"{store}/runs/{run_id}/report.html"
    again = timbrel("evaluate", run_id)
    assert [model["metrics"] for model in again["models"]] == [model["metrics"] for model in trained["models"]]
    heard = timbrel("predict", run_id, f"{audio.uri}/audio/1-0-A-0.wav", folder / "esc50/audio/1-1-A-1.wav")
    assert [max(one["scores"], key=one["scores"].get) for one in heard] == ["hum", "whistle"]
    assert timbrel("status")["runs"] == [run_id]

    lying = Bucket(store)
    report = lying.read(f"runs/{run_id}/report.html").decode()
    assert "timbre" in report
    said += timbrel_here("status", *words)[1:]
    objects = {entry.key: lying.read(entry.key) for entry in lying.list()}
    assert {f"runs/{run_id}/{name}" for name in ("metrics.json", "recipe.toml", "report.html")} <= set(objects)
    secrets = [s3.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    for text in (*objects.values(), *map(str.encode, said)):
        assert not any(secret.encode() in text for secret in secrets)


@pytest.mark.parametrize("command", [("status",), ("extract",)])
def test_unknown_credentials_are_one_sentence_on_the_command_line(timbrel_here, s3_uri, monkeypatch, command):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stranger")
    code, out, err = timbrel_here(*command, "--store", f"{s3_uri}/store")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"timbrel: .*the server (does not know|refuses it to) these credentials.*\n", err)
    assert "stranger" not in err
