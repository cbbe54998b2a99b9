"""Progress as a person sees it: a bar a stream on a terminal, a line now and then in a log, JSON for a machine.

It goes to standard error, so that standard output stays a table or JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Protocol

from storage_schema.progress import StreamProgress

STYLE_VARIABLE = "TIMBREL_PROGRESS"
"""How a flow that `timbrel serve` started shows its progress: lines or json."""

_LINE_EVERY_S = 10.0
"""Without a terminal, how often a stage says where it is."""


class Display(Protocol):
    """What shows progress; called from any thread."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """A stage is that far."""
        ...

    def stream(self, progress: StreamProgress) -> None:
        """The extraction of a stream is that far."""
        ...


_shown: list[Display] = []


def on_progress(what: str, done: int, total: int) -> None:
    """Tell whoever is watching. Flows and tasks call this, because a callback is no parameter Prefect can store."""
    for show in _shown[-1:]:
        show(what, done, total)


def on_stream(progress: StreamProgress) -> None:
    """The same for the extraction of a stream."""
    for show in _shown[-1:]:
        show.stream(progress)


@contextmanager
def progress(*, quiet: bool = False, as_json: bool = False) -> Iterator[Display]:
    """Show progress on standard error while the block runs; as_json: an object a line, also where quiet."""
    with _chosen(quiet, as_json) as show:
        _shown.append(show)
        try:
            yield show
        finally:
            _shown.remove(show)


@contextmanager
def served_progress() -> Iterator[None]:
    """Progress of a flow that nobody called by hand: as `timbrel serve` was told, and nothing where nothing was."""
    style = os.environ.get(STYLE_VARIABLE)
    if _shown or style is None:
        yield
    else:
        with progress(as_json=style == "json"):
            yield


def words_of(state: StreamProgress) -> str:
    """`12 of 400, 0.1 h of audio, 31 times real time, 2 min left, 1 failed`."""
    parts = [f"{state.n_done} of {state.n_total}"]
    if state.n_done:
        parts += [f"{state.audio_s / 3600:.2f} h of audio", f"{state.times_real_time:.1f} times real time"]
    if state.left_s:
        parts.append(f"{_time(state.left_s)} left")
    if state.n_failed:
        parts.append(f"{state.n_failed} failed")
    return ", ".join(parts)


def _chosen(quiet: bool, as_json: bool) -> AbstractContextManager[Display]:
    if as_json:
        return nullcontext(_JsonLines())
    if quiet:
        return nullcontext(_Nothing())
    return _bars() if sys.stderr.isatty() else nullcontext(_Lines())


class _Nothing:
    def __call__(self, what: str, done: int, total: int) -> None:
        pass

    def stream(self, progress: StreamProgress) -> None:
        pass


class _Lines:
    """A line when something begins, when it ends, and now and then between."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._is_due(what, done == total):
            self._print(f"{what}: {done} of {total}")

    def stream(self, progress: StreamProgress) -> None:
        if self._is_due(progress.stream, progress.n_done == progress.n_total):
            self._print(f"{progress.stream}: {words_of(progress)}")

    def _is_due(self, what: str, is_end: bool) -> bool:
        now = time.monotonic()
        if what in self._last and not is_end and now - self._last[what] < _LINE_EVERY_S:
            return False
        self._last[what] = now
        return True

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _JsonLines:
    """Every event as one JSON object a line, with its time."""

    def __call__(self, what: str, done: int, total: int) -> None:
        self._print({"event": "progress", "what": what, "done": done, "total": total})

    def stream(self, progress: StreamProgress) -> None:
        self._print(
            {
                "event": "stream",
                "stream": progress.stream,
                "done": progress.n_done,
                "failed": progress.n_failed,
                "total": progress.n_total,
                "audio_s": round(progress.audio_s, 3),
                "times_real_time": round(progress.times_real_time, 2),
                "left_s": None if progress.left_s is None else round(progress.left_s, 1),
            }
        )

    def _print(self, event: dict[str, Any]) -> None:
        print(json.dumps({"at": datetime.now(UTC).isoformat()} | event), file=sys.stderr, flush=True)


@contextmanager
def _bars() -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[audio]}"),
        TextColumn("[red]{task.fields[failures]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """One live view: a bar a stage and a stream."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        self._show(what, done, total, "", "")

    def stream(self, progress: StreamProgress) -> None:
        audio = f"{progress.audio_s / 3600:.2f} h, {progress.times_real_time:.0f}x" if progress.n_done else ""
        failures = f"{progress.n_failed} failed" if progress.n_failed else ""
        self._show(progress.stream, progress.n_done, progress.n_total, audio, failures)

    def _show(self, what: str, done: int, total: int, audio: str, failures: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, audio="", failures="")
        self._bars.update(self._tasks[what], completed=done, total=total, audio=audio, failures=failures)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
