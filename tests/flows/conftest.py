"""The command line as a person meets it: words in, exit code and text out."""

import sys

import pytest

from flows.cli.main import main
from tests.pipeline.conftest import write_sine


@pytest.fixture
def timbrel(monkeypatch, capsys):
    """Call `timbrel WORDS...` in this process; returns (exit code, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["timbrel", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def audio(tmp_path):
    """Four sines of two labels."""
    for i in range(4):
        write_sine(tmp_path / "audio" / ("low" if i < 2 else "high") / f"{i}.wav", 200 + 300 * i, 0.3)
    return tmp_path / "audio"


@pytest.fixture
def ingested(timbrel, audio, tmp_path):
    """The path of a store that knows `audio`."""
    store = tmp_path / "store"
    assert timbrel("ingest", "folder", audio, "--store", store)[0] == 0
    return store
