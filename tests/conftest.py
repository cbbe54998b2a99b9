"""What all tests may ask for: a real S3 server and a real Prefect server, each started once where anybody asks."""

from uuid import uuid4

import pytest

from tests.prefect_server import prefect_server
from tests.s3 import s3_server

BUCKET = "tests"
"""One for all tests, each below a prefix of its own: SeaweedFS lays out several volumes a bucket."""


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A running S3 server; most tests want `s3_uri` instead."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def s3_uri(s3, monkeypatch):
    """A uri that nothing lies below yet, with the environment that reaches it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex[:12]}/some/prefix"


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory):
    """The environment that reaches a running Prefect server; one for all tests, as a start takes some 10 s."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment
