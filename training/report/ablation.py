"""The ablation as the report shows it: one line a subset of streams, and what each stream is worth at what cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.results import AblationRow, Interval

FUSIONS = ("alone", "late", "feature", "representation", "both")
"""The order in which fusions are drawn and named; one that is not here comes after them."""


@dataclass(frozen=True)
class Mark:
    """One fusion's figure on a subset's line; `place` is its height in the line, in percent from above."""

    fusion: str
    score: Interval
    place: float


@dataclass(frozen=True)
class SubsetLine:
    """A subset of streams: the figure of every fusion of it, and the row of the best one."""

    streams: tuple[str, ...]
    marks: tuple[Mark, ...]
    best: AblationRow


@dataclass(frozen=True)
class Worth:
    """One stream: its score alone, what is left without it (None where that was not measured), and its cost.

    `gain_interval` is paired, and there where one fusion is the best of all streams and of all but this one.
    """

    stream: str
    alone: Interval | None
    without: float | None
    gain: float | None
    gain_interval: Interval | None
    extract_s_per_hour: float | None
    bytes_per_hour: float | None


@dataclass(frozen=True)
class AblationView:
    """`lines` best first; `worths` in the order of gain, then of the score alone."""

    streams: tuple[str, ...]
    fusions: tuple[str, ...]
    lines: tuple[SubsetLine, ...]
    worths: tuple[Worth, ...]


def view_ablation(rows: Sequence[AblationRow], metric: str) -> AblationView | None:
    """None where no row has a figure for `metric`."""
    measured = [row for row in rows if metric in row.metrics and math.isfinite(row.metrics[metric].value)]
    if not measured:
        return None
    streams = tuple(
        dict.fromkeys(stream for row in sorted(measured, key=lambda r: len(r.streams)) for stream in row.streams)
    )
    found = {row.fusion for row in measured}
    fusions = tuple(name for name in FUSIONS if name in found) + tuple(sorted(found - set(FUSIONS)))
    subsets: dict[frozenset[str], list[AblationRow]] = {}
    for row in measured:
        subsets.setdefault(frozenset(row.streams), []).append(row)
    lines = [_line(members, fusions, streams, metric) for members in subsets.values()]
    lines.sort(key=lambda line: (-line.best.metrics[metric].value, len(line.streams), line.streams))
    best = {frozenset(line.streams): line.best for line in lines}
    worths = [_worth(stream, streams, best, metric) for stream in streams]
    worths.sort(key=lambda w: (-_or_least(w.gain), -_or_least(w.alone.value if w.alone else None), w.stream))
    return AblationView(streams, fusions, tuple(lines), tuple(worths))


def _line(members: Sequence[AblationRow], fusions: Sequence[str], streams: Sequence[str], metric: str) -> SubsetLine:
    ordered = sorted(members, key=lambda row: fusions.index(row.fusion))
    marks = tuple(
        Mark(row.fusion, row.metrics[metric], 100 * (i + 1) / (len(ordered) + 1)) for i, row in enumerate(ordered)
    )
    best = max(ordered, key=lambda row: row.metrics[metric].value)
    return SubsetLine(tuple(stream for stream in streams if stream in best.streams), marks, best)


def _worth(stream: str, streams: Sequence[str], best: dict[frozenset[str], AblationRow], metric: str) -> Worth:
    alone = best.get(frozenset([stream]))
    whole, rest = best.get(frozenset(streams)), best.get(frozenset(streams) - {stream})
    without = rest.metrics[metric].value if rest else None
    gain = whole.metrics[metric].value - without if whole and without is not None else None
    is_paired = whole is not None and rest is not None and rest.fusion == whole.fusion
    lost = rest.minus_all if rest is not None and is_paired else None
    return Worth(
        stream,
        alone.metrics[metric] if alone else None,
        without,
        gain,
        Interval(value=-lost.value, low=-lost.high, high=-lost.low) if lost else None,
        alone.extract_s_per_hour if alone else None,
        alone.bytes_per_hour if alone else None,
    )


def _or_least(value: float | None) -> float:
    return -math.inf if value is None else value
