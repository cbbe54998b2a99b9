"""The report's words: figures as text, and the one sentence that says what the run found.

The sentence claims a winner only where the paired interval leaves zero on one side.
"""

import math

from training.results import Comparison, Interval, ModelResult, RunResult

METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "map": "mAP", "mauc": "mAUC", "d_prime": "d′"}
"""How a metric is written for a reader; one that is not here keeps its own name."""

NOT_SHARES = frozenset({"d_prime"})
"""Metrics that are no share of 1, and so are not written as a percentage."""

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def metric_name(metric: str) -> str:
    return METRICS.get(metric, metric.replace("_", " "))


def figure(value: float, metric: str) -> str:
    """A value as a percentage with one decimal, or with two decimals where the metric is no share of 1."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:.2f}" if metric in NOT_SHARES else f"{100 * value:.1f}"
    return text.replace("-", MINUS)


def unit(metric: str) -> str:
    return "" if metric in NOT_SHARES else " %"


def signed(value: float, metric: str) -> str:
    """A difference with its sign: percentage points, or the metric's own unit."""
    text = figure(value, metric)
    return f"+{text}" if value > 0 and text != MISSING else text


def tick(value: float, metric: str, is_signed: bool) -> str:
    """An axis label, as short as it can be."""
    scaled = value if metric in NOT_SHARES else 100 * value
    return f"{scaled:{'+' if is_signed and value else ''}g}".replace("-", MINUS)


def weight(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS) if math.isfinite(value) else MISSING


def count(n: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def seconds(value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    if value >= 600:
        return f"{value / 60:.0f} min"
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def cost_s(value: float | None) -> str:
    """Seconds of one core, or a dash where nothing was measured."""
    return MISSING if value is None else seconds(value)


def size(n_bytes: float | None) -> str:
    """Bytes in the decimal unit that leaves one to three digits before the point."""
    if n_bytes is None or not math.isfinite(n_bytes):
        return MISSING
    for name, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {name}"
    return f"{n_bytes:.0f} B"


def sentence(text: str) -> str:
    """The text with a capital, unless it is a name such as mAP that begins with a small letter."""
    return text if any(letter.isupper() for letter in text) else _capital(text)


def ranked(result: RunResult) -> list[ModelResult]:
    """The models by the headline metric, best first; one without that figure comes last."""
    return sorted(result.models, key=lambda model: (-_headline(model, result.headline), model.name))


def main_comparison(result: RunResult) -> Comparison | None:
    """The fusion against the best single stream, where the run has both: that of the best fusion, closest rival."""
    kinds = {model.name: model.kind for model in result.models}
    wanted = [c for c in result.comparisons if kinds.get(c.name) == "fusion" and kinds.get(c.other) == "stream"]
    order = {model.name: rank for rank, model in enumerate(ranked(result))}
    return min(wanted, key=lambda c: (order[c.name], order[c.other]), default=None)


def verdict(result: RunResult) -> str:
    """One sentence on the fusion against the best single stream, or on the best model where there is no such pair."""
    comparison = main_comparison(result)
    if comparison is not None:
        return _on_pair(comparison, result, "the best single stream")
    if not result.models:
        return "This run holds no models."
    best = ranked(result)[0]
    score = best.metrics.get(result.headline)
    if score is None:
        return f"No model of this run has a figure for {metric_name(result.headline)}."
    value = f"{figure(score.value, result.headline)}{unit(result.headline)} ({interval(score, result.headline)})"
    return (
        f"{_capital(best.name)} scored highest, with {metric_name(result.headline)} {value}; "
        "nothing was compared with it clip by clip."
    )


def caveat(result: RunResult) -> str:
    """A sentence on the best baseline where the fusion was compared with one and did not clearly beat it, else ''."""
    kinds = {model.name: model.kind for model in result.models}
    for comparison in result.comparisons:
        is_doubtful = not comparison.difference.low > 0
        if kinds.get(comparison.name) == "fusion" and kinds.get(comparison.other) == "baseline" and is_doubtful:
            return _on_pair(comparison, result, "a baseline")
    return ""


def interval(value: Interval, metric: str) -> str:
    return f"{figure(value.low, metric)} to {figure(value.high, metric)}"


def _on_pair(comparison: Comparison, result: RunResult, what: str) -> str:
    metric, difference = result.headline, comparison.difference
    points = "" if metric in NOT_SHARES else " points"
    size = f"{figure(abs(difference.value), metric)}{points} of {metric_name(metric)}"
    span = f"{signed(difference.low, metric)} to {signed(difference.high, metric)}"
    name, other = _capital(comparison.name), f"{comparison.other}, {what}"
    if difference.low > 0:
        return f"{name} beats {other}, by {size} (95 % interval {span})."
    if difference.high < 0:
        return f"{name} falls behind {other}, by {size} (95 % interval {span})."
    clips = "clip" if result.n_test == 1 else "clips"
    return (
        f"{name} and {other}, cannot be told apart on {count(result.n_test)} test {clips}: the difference of "
        f"{signed(difference.value, metric)}{points} of {metric_name(metric)} has a 95 % interval of {span}, which "
        "includes zero."
    )


def _headline(model: ModelResult, metric: str) -> float:
    value = model.metrics[metric].value if metric in model.metrics else -math.inf
    return value if math.isfinite(value) else -math.inf


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
