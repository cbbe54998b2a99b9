"""Audio and its metadata on a real S3 server, through ingest and extraction."""

import errno
import tempfile

import numpy as np
import pytest

from features.registry import load_extractor
from flows.predict import _features
from pipeline import locations
from pipeline.batches import cut_batches
from pipeline.decode import decode, hash_file, probe
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest, list_clips
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.bucket import Bucket
from storage_schema.errors import ClipError, InputError
from tests.pipeline.conftest import WAVEFORM, write_sine
from tests.s3 import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def remote(s3_uri, audio):
    """The five sines of `audio` on S3, listed there by a CSV and in the layout of ESC-50 too."""
    bucket = Bucket(s3_uri)
    for path in audio.rglob("*.wav"):
        bucket.put(path.relative_to(audio).as_posix(), path)
    bucket.put("lists/metadata.csv", b"path,label\n../low/0.wav,low\n")
    bucket.put("metadata.csv", b"path,label\nlow/0.wav,low\nhigh/3.wav,high\ngone.wav,low\n")
    bucket.put("meta/esc50.csv", b"filename,fold,category,src_file\n1.wav,1,dog,9\n")
    bucket.put("audio/1.wav", audio / "low" / "0.wav")
    return s3_uri


def test_a_file_on_s3_is_what_it_is_on_disk(remote, audio):
    local, uri = audio / "low" / "1.wav", f"{remote}/low/1.wav"
    assert hash_file(uri) == hash_file(local)
    assert probe(uri) == probe(local)
    assert np.array_equal(decode(uri, 16_000), decode(local, 16_000))
    assert locations.stat(uri)[0] == local.stat().st_size
    assert locations.stats_below(remote)("low/1.wav") == locations.stat(uri)


def test_nothing_is_left_of_a_file_that_was_read_from_s3(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    with locations.open_file(f"{remote}/low/1.wav") as file:
        assert file.read(4) == b"RIFF"
        assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("kind", "root", "n"), [("folder", "", 6), ("csv", "", 3), ("csv", "/metadata.csv", 3), ("esc50", "/", 1)]
)
def test_every_layout_may_lie_on_s3(kind, root, n, remote):
    assert len(list_clips(kind, remote + root)) == n
    assert locations.folder_of(remote + root) == remote


def test_clips_on_s3_are_ingested_once_and_extracted_and_carry_no_credentials(remote, audio, tmp_path):
    store = open_store(tmp_path / "store", create=True)
    report = ingest(store, "csv", remote)
    assert (report.dataset, report.n_new, report.n_problems) == ("prefix", 3, 1)
    assert ingest(store, "csv", remote).n_unchanged == 3
    (problem,) = store.snapshot().problems().to_pylist()
    assert (problem["uri"], problem["kind"]) == ("gone.wav", "vanished")
    assert f"{remote}/gone.wav" in problem["message"]
    assert set(store.snapshot().clips["root"].to_pylist()) == {remote}

    plan = plan_extraction(store.snapshot(), [WAVEFORM])
    assert run_extraction(store, plan, n_workers=1).n_ok == {"waveform": 2}
    stream = store.snapshot().stream("waveform")
    local = load_extractor(WAVEFORM).extract([decode(audio / "low" / "0.wav", 16_000)])[0]
    assert np.array_equal(stream.read(hash_file(audio / "low" / "0.wav"))["samples"], local["samples"])
    for path in (tmp_path / "store").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(secret.encode() in content for secret in (ACCESS_KEY, SECRET_KEY))


def test_an_object_that_changes_after_ingest_is_refused_and_says_its_uri(remote, audio, tmp_path):
    store = open_store(tmp_path / "store", create=True)
    ingest(store, "csv", remote)
    Bucket(remote).put("low/0.wav", write_sine(tmp_path / "other.wav", 999, 0.7))
    Bucket(remote).delete("high/3.wav")
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    rows = extract_batch(store.uri, batch)
    assert sorted(row.kind for row in rows) == ["changed", "vanished"]
    assert all(remote in row.message for row in rows)


def test_unknown_credentials_stop_the_run_and_put_no_clip_in_quarantine(remote, tmp_path, monkeypatch):
    store = open_store(tmp_path / "store", create=True)
    ingest(store, "csv", remote)
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a stranger")
    with pytest.raises(InputError, match="No file is at fault") as caught:
        extract_batch(store.uri, batch)
    assert remote in str(caught.value)
    assert "stranger" not in str(caught.value)
    with pytest.raises(InputError, match="does not know these credentials"):
        ingest(store, "csv", remote)


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EHOSTUNREACH, "No file is at fault"), (errno.ENOSPC, "set TMPDIR to a larger disk")]
)
def test_what_is_no_fault_of_a_file_is_not_told_as_one(number, words, monkeypatch):
    def fail(_bucket, _key):
        raise OSError(number, "it is so")

    monkeypatch.setattr(Bucket, "stream", fail)
    for use in (hash_file, probe, lambda uri: decode(uri, 16_000)):
        with pytest.raises(InputError, match=words):
            use("s3://bucket/x.wav")


def test_a_path_that_leaves_the_root_is_refused_on_s3_too(remote):
    with pytest.raises(InputError, match=r"lists/metadata\.csv needs 1 correction"):
        list_clips("csv", f"{remote}/lists")


@pytest.mark.parametrize(
    ("kind", "root", "words"),
    [
        ("folder", "{uri}/nowhere", "holds no recordings"),
        ("csv", "{uri}/nowhere", "there is no s3://"),
        ("esc50", "{uri}/nowhere", "there is no s3://"),
        ("folder", "s3://no-such-bucket-here", "no-such-bucket-here cannot be listed: there is no such"),
        ("folder", "s3://", "names no bucket"),
        ("csv", "gs://bucket/x", "does not exist"),
    ],
)
def test_a_wrong_root_on_s3_is_one_sentence(kind, root, words, s3_uri):
    with pytest.raises(InputError, match=words):
        list_clips(kind, root.format(uri=s3_uri))


def test_prediction_hears_a_file_on_s3(remote, audio):
    extractors = {"waveform": load_extractor(WAVEFORM)}
    _, duration_s = _features(f"{remote}/low/0.wav", extractors)
    assert duration_s == pytest.approx(0.3)
    with pytest.raises(ClipError, match=f"{remote}/gone.wav is not there"):
        _features(f"{remote}/gone.wav", extractors)
