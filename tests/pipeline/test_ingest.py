"""Ingest reads what is new, leaves what is not, and loses nothing."""

import os

import pytest

import pipeline.ingest
from pipeline.ingest import ingest
from storage_schema import open_store
from storage_schema.errors import InputError
from tests.pipeline.conftest import write_sine


def test_second_ingest_hashes_nothing_and_commits_nothing(store, audio, monkeypatch):
    before = store.snapshot().id
    monkeypatch.setattr(pipeline.ingest, "identify", lambda path: pytest.fail(f"{path} was read again"))
    report = ingest(store, "folder", audio)
    assert (report.n_listed, report.n_new, report.n_changed, report.n_unchanged) == (5, 0, 0, 5)
    assert store.snapshot().id == before


def test_rows_hold_the_header_the_label_and_the_place(store, audio):
    rows = {row["uri"]: row for row in store.snapshot().clips.to_pylist()}
    row = rows["low/0.wav"]
    assert (row["dataset"], row["root"], row["labels"]) == ("audio", str(audio), ["low"])
    assert (row["sample_rate_hz"], row["n_channels"]) == (16_000, 1)
    assert row["duration_s"] == pytest.approx(0.3)


def test_new_and_changed_files_are_found(store, audio):
    write_sine(audio / "low" / "9.wav", 900)
    write_sine(audio / "high" / "4.wav", 123, 0.9)
    os.remove(audio / "low" / "0.wav")
    report = ingest(store, "folder", audio)
    assert (report.n_new, report.n_changed, report.n_unchanged, report.n_unlisted) == (1, 1, 3, 1)


def test_same_bytes_under_two_names_are_one_clip(store, audio):
    (audio / "low" / "copy.wav").write_bytes((audio / "low" / "0.wav").read_bytes())
    ingest(store, "folder", audio)
    clips = store.snapshot().clips
    assert clips.num_rows == 6
    assert len(set(clips["clip_id"].to_pylist())) == 5


def test_file_that_cannot_be_read_becomes_a_row_and_is_tried_again(store, audio):
    (audio / "low" / "loop.wav").symlink_to("loop.wav")
    (audio / "low" / "fifo.wav").unlink(missing_ok=True)
    os.mkfifo(audio / "low" / "fifo.wav")
    report = ingest(store, "folder", audio)
    assert report.n_problems == 2
    problems = {problem["uri"]: problem for problem in store.snapshot().problems().to_pylist()}
    assert set(problems) == {"low/loop.wav", "low/fifo.wav"}
    assert all(problem["message"] for problem in problems.values())
    os.remove(audio / "low" / "fifo.wav")
    write_sine(audio / "low" / "fifo.wav")
    assert ingest(store, "folder", audio).n_problems == 1


def test_a_name_that_is_no_utf8_is_a_row_that_says_to_rename_the_file(store, audio):
    written = write_sine(audio / "low" / "x.wav").rename(audio / "low" / os.fsdecode(b"caf\xe9.wav"))
    for _ in range(2):
        assert ingest(store, "folder", audio).n_problems == 1
        (problem,) = store.snapshot().problems().to_pylist()
        assert (problem["uri"], problem["kind"]) == ("low/caf\\xe9.wav", "unreadable")
        assert "rename the file" in problem["message"]
    assert ingest(store, "folder", audio).n_unchanged == 6
    written.rename(audio / "low" / "cafe.wav")
    assert ingest(store, "folder", audio).n_problems == 0


def test_file_that_is_away_for_a_day_keeps_what_was_extracted(tmp_path, audio):
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"audio/low/{i}.wav,low\n" for i in range(3)))
    store = open_store(tmp_path / "store", create=True)
    ingest(store, "csv", tmp_path / "list.csv")
    before = store.snapshot().clips["clip_id"].to_pylist()
    audio.rename(tmp_path / "unmounted")
    assert ingest(store, "csv", tmp_path / "list.csv").n_problems == 3
    assert store.snapshot().clips["clip_id"].to_pylist() == before
    assert {problem["kind"] for problem in store.snapshot().problems().to_pylist()} == {"vanished"}
    (tmp_path / "unmounted").rename(audio)
    assert ingest(store, "csv", tmp_path / "list.csv").n_problems == 0
    assert store.snapshot().problems().num_rows == 0


def test_moved_root_is_followed_without_reading_a_byte(store, audio, tmp_path, monkeypatch):
    audio.rename(tmp_path / "moved")
    monkeypatch.setattr(pipeline.ingest, "identify", lambda path: pytest.fail(f"{path} was read again"))
    report = ingest(store, "folder", tmp_path / "moved", dataset="audio")
    assert report.n_changed == 5
    assert set(store.snapshot().clips["root"].to_pylist()) == {str(tmp_path / "moved")}


@pytest.mark.parametrize(
    ("kind", "root", "words"),
    [
        ("folder", "nowhere", "does not exist"),
        ("folder", 5000 * "a", "File name too long"),
        ("folder", os.fsdecode(b"\xff"), "is no UTF-8"),
        ("flac", ".", "choose from"),
        ("folder", "empty", "no recordings"),
    ],
)
def test_wrong_question_is_one_sentence(tmp_path, kind, root, words):
    (tmp_path / "empty").mkdir()
    store = open_store(tmp_path / "store", create=True)
    with pytest.raises(InputError, match=words):
        ingest(store, kind, tmp_path / root)
    assert store.snapshot().clips.num_rows == 0
