"""Objects on a real S3 server."""

import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest

import storage_schema.bucket
from storage_schema import open_store
from storage_schema.bucket import Bucket
from storage_schema.errors import InputError

ODD_NAMES = ["a b.wav", "🥁 drum.wav", "quote \" and '.wav", "100% #1?.wav", "ä+&=*[x].wav"]


def test_bytes_come_back_as_they_were_put(s3_uri, tmp_path):
    bucket = Bucket(s3_uri)
    bucket.put("a/b.bin", b"\0\1\2")
    assert bucket.read("a/b.bin") == b"\0\1\2"
    long = bytes(range(256)) * 2**16  # 16 MB: more than one block, and a multipart upload
    (tmp_path / "long").write_bytes(long)
    bucket.put("long", tmp_path / "long")
    blocks = list(bucket.stream("long"))
    assert len(blocks) > 1
    assert b"".join(blocks) == long
    n_bytes, modified_at = bucket.head("long")
    assert n_bytes == len(long)
    assert abs(modified_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_listings_are_relative_to_the_uri_and_stay_in_their_folder(s3_uri):
    bucket = Bucket(s3_uri)
    for key in ("one", "a/two", "a/b/three", "ab/four"):
        bucket.put(key, key.encode())
    assert sorted(entry.key for entry in bucket.list()) == ["a/b/three", "a/two", "ab/four", "one"]
    assert sorted(entry.key for entry in bucket.list("a")) == ["a/b/three", "a/two"]
    folders, entries = bucket.children()
    assert (sorted(folders), [entry.key for entry in entries]) == (["a", "ab"], ["one"])
    folders, entries = bucket.children("a")
    assert (folders, [entry.key for entry in entries]) == (["a/b"], ["a/two"])
    assert bucket.children("nowhere") == ([], [])
    assert list(bucket.list("nowhere")) == []
    entry = next(entry for entry in bucket.list() if entry.key == "a/two")
    assert (entry.n_bytes, entry.modified_at) == bucket.head("a/two") == Bucket(f"{s3_uri}/a").head("two")


def test_odd_names_are_names_like_any_other(s3_uri):
    bucket = Bucket(s3_uri)
    for name in ODD_NAMES:
        bucket.put(name, name.encode())
    assert sorted(entry.key for entry in bucket.list()) == sorted(ODD_NAMES)
    assert [bucket.read(name) for name in ODD_NAMES] == [name.encode() for name in ODD_NAMES]


@pytest.mark.parametrize("key", ["new\nline.wav", "../up", "a//b"])
def test_a_name_that_object_stores_do_not_take_is_an_error_with_a_sentence(s3_uri, key):
    with pytest.raises(OSError, match="is none that S3 is asked for"):
        Bucket(s3_uri).read(key)


def test_what_is_removed_is_gone_and_removing_nothing_is_fine(s3_uri):
    bucket = Bucket(s3_uri)
    for key in ("a", "b", "c"):
        bucket.put(key, b"x")
    bucket.delete("a")
    bucket.remove(["b", "never there"])
    bucket.remove([])
    assert [entry.key for entry in bucket.list()] == ["c"]


def test_a_missing_object_or_bucket_is_a_file_not_found_that_names_it(s3_uri):
    for call in (Bucket.read, Bucket.head, lambda bucket, key: list(bucket.stream(key))):
        with pytest.raises(FileNotFoundError) as caught:
            call(Bucket(s3_uri), "nowhere/x.wav")
        assert f"{s3_uri}/nowhere/x.wav" in str(caught.value)
    with pytest.raises(FileNotFoundError):
        Bucket("s3://no-such-bucket-here").read("x")
    with pytest.raises(FileNotFoundError):
        list(Bucket("s3://no-such-bucket-here").list())


def test_wrong_credentials_are_a_permission_error_that_repeats_none_of_them(s3_uri, monkeypatch):
    Bucket(s3_uri).put("x", b"x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "strangerkey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "strangersecret")
    for call in (lambda b: b.read("x"), lambda b: list(b.list()), lambda b: b.put("y", b"y"), lambda b: b.delete("x")):
        with pytest.raises(PermissionError) as caught:
            call(Bucket(s3_uri))
        assert "stranger" not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_a_server_that_is_not_there_is_told_with_the_uri_and_without_a_key(monkeypatch):
    monkeypatch.setitem(storage_schema.bucket._RETRY, "retry_timeout", timedelta(seconds=1))  # 12 s are long in a test
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mykey")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mysecret")
        with pytest.raises(OSError, match="does not answer") as caught:
            Bucket("s3://bucket/prefix").read("x")
        assert "s3://bucket/prefix/x" in str(caught.value)
        assert "mykey" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "bucket/x", "http://bucket"])
def test_a_uri_without_a_bucket_is_refused(uri):
    with pytest.raises(InputError, match="names no bucket"):
        Bucket(uri)


def test_a_server_that_is_busy_is_asked_again(monkeypatch):
    answers = [b"503 Slow Down", b"503 Slow Down", b"200 OK"]
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mykey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mysecret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")

        def answer():
            for status in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    body = b"etag: x\r\nlast-modified: Mon, 02 Jan 2023 00:00:00 GMT\r\ncontent-length: 2\r\n\r\nok"
                    connection.sendall(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\n" + body)

        thread = threading.Thread(target=answer)
        thread.start()
        assert Bucket("s3://bucket/prefix").read("x") == b"ok"
        thread.join()


def test_server_without_tls_needs_no_further_permission(s3_uri, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    store = open_store(f"{s3_uri}/store", create=True)
    assert Bucket(store.uri).read("timbrel.json").startswith(b"{")
    assert store.snapshot().n_clips == 0
