"""How results are written: tables for people, JSON for scripts, both on standard output.

Names of files and labels come from outside, so nothing in them reaches a terminal as a command or a program as markup.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from training.results import Interval, RunResult

_console = Console()

_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but the end of a line, and half surrogates, which stand for bytes of a name that are no UTF-8."""


def printable(text: str) -> str:
    """`text` with what would steer a terminal, or cannot be encoded, as backslash escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_json(document: Any) -> None:
    """One JSON document; dataclasses become objects."""
    plain = asdict(document) if is_dataclass(document) and not isinstance(document, type) else document
    text = json.dumps(plain, indent=2, ensure_ascii=False, default=str)
    print(text.encode("utf-8", "backslashreplace").decode())  # half a surrogate becomes JSON's own escape of it


def say(text: str) -> None:
    """One line for a person; nothing in it is taken for markup."""
    _console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table; numbers stand on the right, with a dash where there is none."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        cells = [row[i] for row in rows if row[i] != "–"]
        is_number = bool(cells) and all(isinstance(cell, int | float) for cell in cells)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(f"{cell:,}" if isinstance(cell, int) else printable(str(cell))) for cell in row))
    _console.print(table)


def print_result(result: "RunResult", title: str | None = None) -> None:
    """The table of a run: model, parameters, headline metric with its interval, seconds; comparisons; notes."""
    rows: list[tuple[object, ...]] = [
        (model.name, model.n_parameters, share(model.metrics.get(result.headline)), f"{model.seconds:.1f}")
        for model in result.models
    ]
    rows += [(name, "–", f"not run: {reason}", "–") for name, reason in result.not_run.items()]
    print_table(("stream", "parameters", f"{result.headline} [95 %]", "seconds"), rows, title=title)
    for comparison in result.comparisons:
        say(f"{comparison.name} - {comparison.other}: {points(comparison.difference, ' points')}, paired")
    if result.timing:
        say("time: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in result.timing.items()))
    for note in result.notes:
        say(f"note: {note}")


def share(interval: "Interval | None") -> str:
    """`82.7 [79.1, 86.0]`, in percent; a dash where there is no figure."""
    if interval is None:
        return "–"
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def points(difference: "Interval", unit: str = "") -> str:
    """`+1.2 [-0.3, +2.7]`, in points of a percentage."""
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:+.1f}{unit} [{low:+.1f}, {high:+.1f}]"


def hours(seconds: float) -> str:
    """`1 h 23 min`, or `45 s` for short ones."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
