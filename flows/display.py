"""Progress as a person sees it: bars on a terminal, a line now and then in a log, nothing for a script.

It goes to standard error, so that standard output stays a table or JSON.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from storage_schema.progress import OnProgress, no_progress

_LINE_EVERY_S = 10.0
"""Without a terminal, how often a stage says where it is."""

_shown: list[OnProgress] = []


def on_progress(what: str, done: int, total: int) -> None:
    """Tell whoever is watching. Flows and tasks call this, because a callback is no parameter Prefect can store."""
    for show in _shown[-1:]:
        show(what, done, total)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[OnProgress]:
    """Show progress on standard error while the block runs."""
    with _bars() if sys.stderr.isatty() and not quiet else _lines(quiet) as show:
        _shown.append(show)
        try:
            yield show
        finally:
            _shown.remove(show)


@contextmanager
def _bars() -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def _lines(quiet: bool) -> Iterator[OnProgress]:
    last: dict[str, float] = {}

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what not in last or done == total or now - last[what] >= _LINE_EVERY_S:
            last[what] = now
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    yield no_progress if quiet else show
