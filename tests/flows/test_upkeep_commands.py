"""verify, repair, gc, compact, snapshots: exit codes, tables, JSON, one clear sentence for a wrong question."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from flows.cli.upkeep import parse_grace, size
from storage_schema.errors import InputError

WAVEFORM = ("--streams", "waveform", "--set", "waveform.hop=800", "--workers", "1")


@pytest.fixture
def extracted(timbrel, ingested):
    assert timbrel("extract", "--store", ingested, *WAVEFORM)[0] == 0
    return ingested


def test_flipped_byte_is_found_repaired_extracted_again_and_then_all_is_well(timbrel, extracted):
    code, out, _ = timbrel("verify", "--store", extracted)
    assert (code, out) == (0, "all is well\n")
    chunk = next(Path(extracted).glob("streams/waveform/*/parts/*.zarr/samples/c/0/0"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)
    code, out, _ = timbrel("verify", "--store", extracted, "--json")
    (finding,) = json.loads(out)
    assert (code, finding["severity"]) == (1, "error")
    assert chunk.parents[3].name in finding["where"]
    code, out, _ = timbrel("repair", "--store", extracted, "--dry-run")
    assert code == 0
    assert "would be mended: streams/waveform/" in out
    assert timbrel("verify", "--store", extracted)[0] == 1
    code, out, _ = timbrel("repair", "--store", extracted)
    assert code == 0
    assert "samples/c/0/0 was changed; 4 rows taken back" in out
    code, out, _ = timbrel("extract", "--store", extracted, *WAVEFORM, "--json")
    assert json.loads(out)["computed"] == {"waveform": 4}
    assert timbrel("verify", "--store", extracted)[0] == 0
    assert timbrel("repair", "--store", extracted)[1] == "nothing to mend\n"


def test_lost_description_is_written_anew_from_the_parameters_it_was_made_with(timbrel, extracted):
    (spec,) = Path(extracted).glob("streams/waveform/*/spec.json")
    text = spec.read_bytes()
    spec.unlink()
    code, out, _ = timbrel("repair", "--store", extracted)
    assert code == 1
    assert "by --set" in out
    assert timbrel("repair", "--store", extracted, *WAVEFORM[2:4])[0] == 0
    assert spec.read_bytes() == text
    assert timbrel("verify", "--store", extracted)[0] == 0


def test_garbage_is_told_first_and_then_deleted(timbrel, extracted):
    leftover = Path(extracted, ".scratch", "0" * 32)
    leftover.mkdir(parents=True)
    (leftover / "file").write_bytes(b"x" * 1500)
    assert timbrel("gc", "--store", extracted)[1] == "no garbage\n"
    code, out, _ = timbrel("gc", "--store", extracted, "--grace", "0m", "--dry-run")
    assert code == 0
    assert "1.5 kB" in out
    assert "would be deleted" in out
    assert leftover.exists()
    code, out, _ = timbrel("gc", "--store", extracted, "--grace", "0m", "--json")
    assert [garbage["key"] for garbage in json.loads(out)] == [f".scratch/{'0' * 32}"]
    assert not leftover.exists()


def test_compact_and_snapshots_say_what_was_done(timbrel, extracted):
    code, out, _ = timbrel("compact", "--store", extracted, "--json")
    assert code == 0
    assert [(found["n_before"], found["n_after"]) for found in json.loads(out)] == [(1, 1)] * 3
    assert "files of the table clips" in timbrel("compact", "--store", extracted)[1]
    code, out, _ = timbrel("snapshots", "--store", extracted)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["snapshot", "1-0", "1-1"]
    assert "waveform: 4 extracted" in out
    code, out, _ = timbrel("snapshots", "--store", extracted, "--limit", "1", "--json")
    (newest,) = json.loads(out)
    assert (newest["snapshot"], newest["what"]) == ("1-1", "waveform: 4 extracted")


@pytest.mark.parametrize(
    ("text", "time"),
    [("90m", timedelta(minutes=90)), ("36h", timedelta(hours=36)), ("7d", timedelta(days=7)), ("0h", timedelta(0))],
)
def test_grace_is_minutes_hours_or_days(text, time):
    assert parse_grace(text) == time


@pytest.mark.parametrize("text", ["", "24", "h", "1.5h", "-1h", "1w", "1h30m", "9999999d"])
def test_anything_else_is_no_grace(text):
    with pytest.raises(InputError, match="such as 90m, 36h or 7d"):
        parse_grace(text)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_340_000, "2.3 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_told_in_thousands(n_bytes, text):
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("gc", "--grace", "soon"), "--grace soon: write a whole number"),
        (("gc", "--grace", "8d"), "more than 7 days"),
        (("repair", "--set", "pitch"), "write STREAM.PARAMETER=VALUE"),
        (("verify", "--streams", ","), "names no stream"),
        (("snapshots",), "nothing was written yet"),
    ],
)
def test_wrong_question_is_one_sentence(timbrel, tmp_path, words, sentence):
    from storage_schema import open_store

    open_store(tmp_path / "store", create=True)
    code, out, err = timbrel(words[0], "--store", tmp_path / "store", *words[1:])
    assert sentence in out + err
    assert code == (0 if words == ("snapshots",) else 2)


@pytest.mark.parametrize("command", ["verify", "repair", "gc", "compact", "snapshots"])
def test_store_that_is_not_there_is_one_sentence(timbrel, tmp_path, command):
    code, _, err = timbrel(command, "--store", tmp_path / "nowhere")
    assert code == 2
    assert "there is no timbrel store at" in err
