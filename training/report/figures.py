"""Where the marks of the report's figures lie: plain geometry, in percent of a figure's width and height.

The template draws; these functions place. A value that is not finite gets no mark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.results import EpochPoint, ModelResult

LARGEST_HEAT_MAP = 30
"""Classes up to which a confusion matrix is readable as a picture."""


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`, with round values to label."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where `value` lies in percent of the axis, held within it."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)


def axis(values: Sequence[float], n_ticks: int = 5) -> Axis:
    """The axis with steps of 1, 2 or 5 times a power of ten that holds all finite `values`; 0 to 1 without any."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    rough = max((high - low) / n_ticks, abs(high) * 1e-6, 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 12) for i in range(first, max(last, first + 1) + 1))
    return Axis(ticks[0], ticks[-1], ticks)


@dataclass(frozen=True)
class Curve:
    """One line of a learning curve as the points of an SVG polyline, x and y in 0 to 100, y downwards."""

    points: str
    is_validation: bool


@dataclass(frozen=True)
class Panel:
    """The learning curves of one quantity of one model, one line a fold (and split)."""

    title: str
    vertical: Axis
    last_epoch: int
    curves: tuple[Curve, ...]


def loss_panel(model: ModelResult) -> Panel:
    lines = [(fold, name) for fold in model.curves for name in ("train_loss", "validation_loss")]
    return _panel("loss", lines, axis([_value(point, name) for fold, name in lines for point in fold], 3))


def score_panel(model: ModelResult, vertical: Axis) -> Panel:
    """The validation scores of `model`, on an axis that the models share."""
    return _panel("validation score", [(fold, "validation_score") for fold in model.curves], vertical)


def score_axis(models: Sequence[ModelResult]) -> Axis:
    values = [_value(point, "validation_score") for model in models for fold in model.curves for point in fold]
    return axis(values, 3)


def _panel(title: str, lines: Sequence[tuple[Sequence[EpochPoint], str]], vertical: Axis) -> Panel:
    epochs = [point.epoch for fold, _ in lines for point in fold]
    first, last = min(epochs, default=0), max(epochs, default=0)
    curves = []
    for fold, name in lines:
        points = [(point.epoch, _value(point, name)) for point in fold]
        text = " ".join(
            f"{100 * (epoch - first) / max(1, last - first):.2f},{100 - vertical.at(value):.2f}"
            for epoch, value in points
            if math.isfinite(value)
        )
        curves.append(Curve(text, name != "train_loss"))
    return Panel(title, vertical, last, tuple(curves))


def _value(point: EpochPoint, name: str) -> float:
    """A figure of one epoch; NaN, which gets no mark, where it has none."""
    value: float | None = getattr(point, name)
    return math.nan if value is None else value


@dataclass(frozen=True)
class Confused:
    """A pair of classes: `n` of the `n_true` clips of class `true` were taken for class `taken_for`."""

    true: str
    taken_for: str
    n: int
    n_true: int


def most_confused(labels: Sequence[str], confusion: Sequence[Sequence[int]], n_pairs: int) -> tuple[Confused, ...]:
    """The pairs of different classes confused most often, most clips first, then the largest share of the class."""
    pairs = [
        Confused(labels[i], labels[j], n, sum(row))
        for i, row in enumerate(confusion)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.n, -pair.n / pair.n_true, pair.true, pair.taken_for))[:n_pairs])
