"""What is so only where a store lies in a bucket: a server that is away or refuses, and secrets kept."""

import logging
import socket

import pytest

import storage_schema.bucket
from storage_schema import open_store
from storage_schema.bucket import Bucket
from storage_schema.errors import StoreError
from storage_schema.files import BucketFiles
from storage_schema.history import list_snapshots
from storage_schema.layout import MARKER
from storage_schema.parts import METADATA, Part, check_part
from storage_schema.store import RUN_MARKER, Store
from tests.storage_schema.conftest import TOY, clip_id, clip_row, fill, toy_arrays


@pytest.fixture
def ground(s3_uri):
    return s3_uri


@pytest.fixture
def filled(store):
    store.merge_clips([clip_row(0), clip_row(1)])
    fill(store, [0])
    write_run(store)
    return store


def write_run(store, run_id="one"):
    with store.new_run(run_id) as folder:
        (folder / RUN_MARKER).write_text("{}")


def open_run(store):
    with store.open_run("one"):
        pass


USES = {
    "open": lambda store, toy: open_store(store.uri),
    "make": lambda store, toy: open_store(f"{store.uri}-2", create=True),
    "list clips": lambda store, toy: store.snapshot(),
    "open a snapshot": lambda store, toy: store.snapshot("1-1").clips,
    "history": lambda store, toy: list_snapshots(store),
    "write clips": lambda store, toy: store.merge_clips([clip_row(9)]),
    "write a part": lambda store, toy: store.write_part(TOY, {clip_id(3): toy_arrays(3)}),
    "read a clip": lambda store, toy: toy.read(clip_id(0)),
    "check a part": lambda store, toy: check_part(Part(store.files, TOY, toy.locations[clip_id(0)].part_id)),
    "recover": lambda store, toy: store.recover(TOY),
    "list runs": lambda store, toy: store.runs(),
    "find a run": lambda store, toy: store.has_run("one"),
    "write a run": lambda store, toy: write_run(store, "two"),
    "read a run": lambda store, toy: open_run(store),
    "add to a run": lambda store, toy: store.add_to_run("one", "report.html", b""),
}


def again(store):
    """The same store as another process would see it, which asks the environment anew."""
    return Store(BucketFiles(Bucket(store.uri)))


def reader_of(store):
    """A reader of the stream that has not yet spoken to the server."""
    toy = store.snapshot().stream("toy")
    return type(toy)(toy.spec, again(store).files, toy.locations)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_unknown_credentials_are_one_sentence_that_repeats_none_of_them(filled, monkeypatch, wrong, use):
    toy = reader_of(filled)
    monkeypatch.setenv(wrong, "stranger")
    with pytest.raises(StoreError, match=r"the server (does not know|refuses it to) these credentials") as caught:
        USES[use](again(filled), toy)
    assert "\n" not in str(caught.value)
    assert "stranger" not in str(caught.value)
    assert filled.uri in str(caught.value)


@pytest.mark.parametrize("use", USES)
def test_server_that_does_not_answer_is_one_sentence(filled, monkeypatch, use):
    toy = reader_of(filled)
    monkeypatch.setitem(storage_schema.bucket._RETRY, "max_retries", 1)  # how patient it is, `test_bucket` holds
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(StoreError, match="the server does not answer; check AWS_ENDPOINT_URL") as caught:
            USES[use](again(filled), toy)
    assert "\n" not in str(caught.value)
    assert filled.uri in str(caught.value)


@pytest.mark.parametrize("create", [False, True])
def test_bucket_that_does_not_exist_is_one_sentence(s3_uri, create):
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x") as caught:
        open_store("s3://no-such-bucket/x", create=create)
    assert "\n" not in str(caught.value)


def test_half_uploaded_part_is_no_part(filled, monkeypatch):
    put = Bucket.put

    def put_but_the_last(bucket, key, content):
        if key.endswith(f".zarr/{METADATA}"):
            raise OSError(5, "killed")
        put(bucket, key, content)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put", put_but_the_last)
        with pytest.raises(StoreError, match="killed"):
            filled.write_part(TOY, {clip_id(1): toy_arrays(1)})
    assert filled.recover(TOY) == 0
    fill(filled, [1])  # over what the killed one left
    assert filled.snapshot().stream("toy").clip_ids == (clip_id(0), clip_id(1))


def test_credentials_stand_in_no_object_and_no_log(filled, s3, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    filled.snapshot().stream("toy").read_all()
    objects = {entry.key: filled.files.read(entry.key) for entry in filled.files.bucket.list()}
    assert {MARKER, f"runs/one/{RUN_MARKER}"} <= set(objects)
    secrets = [s3.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    for text in (*objects.values(), *map(str.encode, (caplog.text, *capfd.readouterr(), filled.uri, repr(filled)))):
        assert not any(secret.encode() in text for secret in secrets)
