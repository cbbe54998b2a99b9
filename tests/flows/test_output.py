"""What is printed: names from outside stay text, and an interruption says what became of the work."""

import json

import storage_schema.store
from flows.cli.output import print_json, print_table, printable, say

HOSTILE = "a\x1b]0;owned\x07\x9b31m\r\udcff[red]é"
SHOWN = "a\\x1b]0;owned\\x07\\x9b31m\\r\\udcff[red]é"


def test_control_characters_and_stray_bytes_are_shown_as_escapes():
    assert printable(HOSTILE) == SHOWN
    assert printable("two\nlines, ñ and 音") == "two\nlines, ñ and 音"


def test_no_way_to_print_lets_a_name_steer_the_terminal(capsys):
    say(HOSTILE)
    print_table(("file",), [(HOSTILE,)])
    assert capsys.readouterr().out.count(SHOWN) == 2


def test_json_of_a_name_that_is_no_utf8_reads_back(capsys):
    print_json({"file": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"file": HOSTILE}
    assert "é" in out


def test_error_about_a_hostile_name_is_shown_as_text(timbrel, tmp_path):
    code, _, err = timbrel("ingest", "folder", tmp_path / "\x1b[2Jnowhere", "--store", tmp_path / "store")
    assert code == 2
    assert "\\x1b[2Jnowhere does not exist" in err
    assert "\x1b" not in err


def test_interruption_is_a_sentence_and_exit_code_130(timbrel, ingested, monkeypatch):
    def interrupted(*_args, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage_schema.store, "open_store", interrupted)
    code, out, err = timbrel("status", "--store", ingested)
    assert (code, out) == (130, "")
    assert "what was committed stays" in err
