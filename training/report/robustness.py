"""A robustness measurement as the report shows it: one line a condition, and a table of every subset of streams."""

import math
from dataclasses import dataclass

from training.report.figures import Axis, axis
from training.results import Interval
from training.robustness.document import ConditionScore, RobustnessResult

LARGEST_TINT = 60
"""How strong the cell that loses most is coloured, in percent."""


@dataclass(frozen=True)
class Alone:
    """What the fusion reaches with one stream; `place` is that of the stream among all, which gives it a shape."""

    stream: str
    place: int
    value: float


@dataclass(frozen=True)
class ConditionLine:
    """One condition: all streams together, and each of several alone."""

    condition: str
    n_clips: int
    score: Interval | None
    difference: Interval | None
    alone: tuple[Alone, ...]


@dataclass(frozen=True)
class Cell:
    """One subset under one condition. `tint` is in percent; `is_sure` where the paired interval leaves zero out."""

    figure: ConditionScore
    tint: int
    is_loss: bool
    is_sure: bool


@dataclass(frozen=True)
class RobustnessView:
    """`lines` in the order of the conditions; `rows` are (subset, a cell or None each condition), best clean first.

    clean: the score of all streams on clean copies, where a line is drawn.
    """

    found: RobustnessResult
    scale: Axis
    clean: float | None
    lines: tuple[ConditionLine, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell | None, ...]], ...]

    @property
    def streams(self) -> tuple[str, ...]:
        return self.found.subsets[0]


def view_robustness(found: RobustnessResult | None) -> RobustnessView | None:
    """None where nothing was measured."""
    if found is None or not found.subsets or not found.conditions:
        return None
    every = found.subsets[0]
    figures = {(each.streams, each.condition): each for each in found.scores}
    lines = [_line(condition, every, figures) for condition in found.conditions]
    values = [value for line in lines for value in (*(each.value for each in line.alone), *_ends(line.score))]
    largest = max((abs(e.difference.value) for e in found.scores if e.difference is not None), default=0.0)
    rows = [
        (streams, tuple(_cell(figures.get((streams, condition)), largest) for condition in found.conditions))
        for streams in found.subsets
    ]
    rows.sort(key=lambda row: (-_clean(row[1]), len(row[0])))
    first = lines[0].score
    return RobustnessView(found, axis(values), None if first is None else first.value, tuple(lines), tuple(rows))


def _line(
    condition: str, every: tuple[str, ...], figures: dict[tuple[tuple[str, ...], str], ConditionScore]
) -> ConditionLine:
    whole = figures.get((every, condition))
    alone = []
    for place, stream in enumerate(every if len(every) > 1 else ()):
        figure = figures.get(((stream,), condition))
        if figure is not None and figure.score is not None:
            alone.append(Alone(stream, place, figure.score.value))
    if whole is None:
        return ConditionLine(condition, 0, None, None, tuple(alone))
    return ConditionLine(condition, whole.n_clips, whole.score, whole.difference, tuple(alone))


def _cell(figure: ConditionScore | None, largest: float) -> Cell | None:
    if figure is None or figure.score is None:
        return None
    change = figure.difference
    if change is None or not largest or not math.isfinite(change.value):
        return Cell(figure, 0, False, False)
    tint = round(LARGEST_TINT * abs(change.value) / largest)
    return Cell(figure, tint, change.value < 0, not change.low <= 0 <= change.high)


def _clean(cells: tuple[Cell | None, ...]) -> float:
    first = cells[0]
    return first.figure.score.value if first is not None and first.figure.score is not None else -math.inf


def _ends(score: Interval | None) -> tuple[float, ...]:
    return () if score is None else (score.low, score.value, score.high)
