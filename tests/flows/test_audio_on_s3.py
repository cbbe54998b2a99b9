"""The command line on recordings that lie on a real S3 server."""

import json

import pytest

from storage_schema.bucket import Bucket
from tests.s3 import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def esc50(s3_uri, audio):
    """Four clips in ESC-50's layout on S3, one of them only listed."""
    lines = ["filename,fold,category,src_file"]
    for i, path in enumerate(sorted(audio.rglob("*.wav")), start=1):
        lines.append(f"{i}.wav,{i},{path.parent.name},{i}")
        if i < 4:
            Bucket(s3_uri).put(f"audio/{i}.wav", path)
    Bucket(s3_uri).put("meta/esc50.csv", "\n".join(lines).encode())
    return s3_uri


def test_recordings_in_a_bucket_are_ingested_and_extracted_like_any_other(timbrel, esc50, tmp_path):
    store = tmp_path / "store"
    code, out, _ = timbrel("ingest", "esc50", esc50, "--store", store)
    assert (code, "esc50: 4 files; 4 new" in out) == (1, True)
    code, out, _ = timbrel("extract", "--store", store, "--streams", "waveform", "--workers", 1, "--json")
    assert (code, json.loads(out)["computed"]) == (0, {"waveform": 3})
    out = timbrel("status", "--store", store, "--json")[1]
    assert f"{esc50}/audio/4.wav is not there" in out


def test_wrong_credentials_are_one_sentence_that_repeats_none_of_them(timbrel, esc50, tmp_path, monkeypatch):
    store = tmp_path / "store"
    timbrel("ingest", "esc50", esc50, "--store", store)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret")
    for words in (
        ("ingest", "esc50", esc50, "--store", store),
        ("extract", "--store", store, "--streams", "waveform", "--workers", 1),
    ):
        code, out, err = timbrel(*words)
        assert (code, "does not know these credentials" in err) == (2, True)
        assert not any(word in out + err for word in (ACCESS_KEY, SECRET_KEY, "no-secret", "Traceback"))
    (problem,) = json.loads(timbrel("status", "--store", store, "--json")[1])["problems"]
    assert problem["kind"] == "vanished"  # the file that was only listed; nothing else is in quarantine
