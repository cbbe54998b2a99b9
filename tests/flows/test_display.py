"""What progress looks like: lines in a log, JSON for a machine, a bar a stream on a terminal."""

import io
import json

from rich.console import Console
from rich.progress import Progress

from flows.display import _Bars, on_progress, on_stream, progress, words_of
from storage_schema.progress import StreamProgress

HALF = StreamProgress("pitch", n_ok=9, n_failed=1, n_total=20, audio_s=50.0, elapsed_s=5.0)
DONE = StreamProgress("pitch", n_ok=19, n_failed=1, n_total=20, audio_s=100.0, elapsed_s=10.0)


def test_words_tell_audio_speed_time_left_and_failures():
    assert words_of(StreamProgress("pitch", 0, 0, 20, 0.0, 1.0)) == "0 of 20"
    assert words_of(HALF) == "10 of 20, 0.01 h of audio, 10.0 times real time, 5 s left, 1 failed"
    assert words_of(DONE) == "20 of 20, 0.03 h of audio, 10.0 times real time, 1 failed"


def test_log_has_a_line_at_the_beginning_and_at_the_end(capsys):
    with progress():
        on_progress("weights", 1, 1)
        on_stream(HALF)
        on_stream(HALF)
        on_stream(DONE)
    assert capsys.readouterr().err.splitlines() == [
        "weights: 1 of 1",
        f"pitch: {words_of(HALF)}",
        f"pitch: {words_of(DONE)}",
    ]


def test_machine_hears_every_event_as_json(capsys):
    with progress(quiet=True, as_json=True):
        on_progress("weights", 1, 1)
        on_stream(HALF)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert {**first, "at": ""} == {"at": "", "event": "progress", "what": "weights", "done": 1, "total": 1}
    assert {**second, "at": ""} == {
        "at": "",
        "event": "stream",
        "stream": "pitch",
        "done": 10,
        "failed": 1,
        "total": 20,
        "audio_s": 50.0,
        "times_real_time": 10.0,
        "left_s": 5.0,
    }


def test_nobody_is_told_where_it_is_to_be_quiet(capsys):
    with progress(quiet=True):
        on_progress("weights", 1, 1)
        on_stream(DONE)
    assert capsys.readouterr().err == ""


def test_terminal_shows_one_bar_a_stream_with_audio_speed_and_failures():
    out = io.StringIO()
    columns = ("{task.description}", "{task.completed}/{task.total}", "{task.fields[audio]}", "{task.fields[failures]}")
    with Progress(*columns, console=Console(file=out, width=100, force_terminal=True, color_system=None)) as bars:
        show = _Bars(bars)
        show("weights", 1, 1)
        show.stream(HALF)
        show.stream(DONE)
        assert [task.description for task in bars.tasks] == ["weights", "pitch"]
    assert "pitch   20/20 0.03 h, 10x 1 failed" in out.getvalue()
