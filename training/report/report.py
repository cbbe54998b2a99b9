"""From a run's result to `report.html`: one file with its style, figures and script inside, and nothing to fetch.

Every name and label comes from outside and is escaped by the template engine; a content security policy in the page
forbids the browser to load anything and to run any script but the page's own, whatever a label says.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from storage_schema.store import Store
from training.exhibits import Exhibits, make_exhibits
from training.report import words
from training.report.ablation import view_ablation
from training.report.exhibits import shorten, tint, view_map, view_mistake
from training.report.figures import (
    LARGEST_HEAT_MAP,
    Axis,
    Confused,
    Panel,
    axis,
    loss_panel,
    most_confused,
    score_axis,
    score_panel,
)
from training.report.robustness import view_robustness
from training.results import Comparison, Interval, ModelResult, RunResult
from training.robustness.document import RobustnessResult, read_robustness

REPORT_NAME = "report.html"

_NOTHING = Exhibits()

_SECTIONS = (
    ("ablation", "ablation", "ablation"),
    ("robustness", "robustness", "robustness"),
    ("shares", "streams", "shares"),
    ("curves", "learning", "panels"),
    ("by-class", "classes", "table"),
    ("confusions", "confusions", "confusion"),
    ("neighbours", "map", "map"),
    ("mistakes", "mistakes", "mistakes"),
    ("provenance", "provenance", "verdict"),
)
"""Anchor, name in the page's table of contents, and what must be there for the section to be."""

_MOST_PAIRS = 20
_PAIRS_BESIDE_HEAT_MAP = 5


@dataclass(frozen=True)
class ScoreTable:
    """Scores by class: `rows` holds (label, number of clips, a score or None for each model), weakest first."""

    models: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class ConfusionView:
    """The lead model's confusions: a heat map where `rows` is not empty, and the pairs confused most."""

    model: str
    labels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    pairs: tuple[Confused, ...]


def write_report(store: Store, result: RunResult) -> str:
    """Write `report.html` beside the run's own files, replacing an older one; where it lies.

    It shows a measurement of robustness where the run has one.
    """
    with store.open_run(result.run_id) as folder:
        robustness = read_robustness(folder)
    page = render_report(result, make_exhibits(store, result), robustness)
    return store.add_to_run(result.run_id, REPORT_NAME, page.encode())


def render_report(result: RunResult, exhibits: Exhibits = _NOTHING, robustness: RobustnessResult | None = None) -> str:
    """The report as one HTML document."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    models = words.ranked(result)
    metric = result.headline
    lead = _lead_model(models)
    curved = [model for model in models if any(model.curves)]
    shared = score_axis(curved)
    panels: list[tuple[str, tuple[Panel, ...]]] = [
        (model.name, (loss_panel(model), score_panel(model, shared))) for model in curved
    ]
    script = (Path(__file__).parent / "script.js").read_text(encoding="utf-8")
    shown: dict[str, Any] = {
        "verdict": words.verdict(result),
        "caveat": words.caveat(result),
        "metric_names": _metric_names(models, metric),
        "scores": [(model, model.metrics.get(metric)) for model in models],
        "score_scale": _interval_axis([model.metrics[metric] for model in models if metric in model.metrics]),
        "differences": result.comparisons,
        "difference_scale": _difference_axis(result.comparisons),
        "panels": panels,
        "weighted": [model for model in models if model.fusion_weights],
        "weight_scale": axis([0.0, *(w for model in models for w in model.fusion_weights.values())]),
        "table": _score_table(models, lead),
        "confusion": _confusion(result.labels, lead),
        "not_run": list(result.not_run.items()),
        "timing": list(getattr(result, "timing", {}).items()),
        **_show_ablation(result),
        "robustness": view_robustness(robustness),
        **_show_exhibits(exhibits),
    }
    return environment.get_template("report.html.j2").render(
        run=result,
        words=words,
        models=models,
        lead=lead,
        sections=[(anchor, name) for anchor, name, what in _SECTIONS if _is_shown(shown[what])],
        script=script,  # our own file, and the only script that the policy lets run
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        **shown,
    )


def _show_ablation(result: RunResult) -> dict[str, Any]:
    metric = result.headline
    scores = [row.metrics[metric] for row in result.ablation if metric in row.metrics]
    return {"ablation": view_ablation(result.ablation, metric), "ablation_scale": _interval_axis(scores)}


def _show_exhibits(exhibits: Exhibits) -> dict[str, Any]:
    """The exhibits with the scales that they are drawn on."""
    beliefs = [belief for each in exhibits.mistakes for belief in (each.heard, each.missed) if belief is not None]
    parts = [value for belief in beliefs for value in (belief.base or 0.0, *belief.values.values())]
    shares = exhibits.shares
    overall = (
        sorted(zip(shares.streams, shares.overall.values, strict=True), key=lambda pair: -pair[1]) if shares else []
    )
    return {
        "map": view_map(exhibits.map) if exhibits.map else None,
        "mistakes": [view_mistake(each) for each in exhibits.mistakes],
        "n_mistaken": exhibits.n_mistaken,
        "share_scale": axis([0.0, *parts]),
        "shares": shares,
        "overall_shares": overall,
        "overall_scale": axis([0.0, *(value for _, value in overall), shares.overall.base if shares else 0.0]),
        "largest_share": max((abs(v) for row in (shares.classes if shares else ()) for v in row.values), default=0.0),
        "notes": exhibits.notes,
        "shorten": shorten,
        "tint": tint,
    }


def _is_shown(content: object) -> bool:
    return bool(content.rows) if isinstance(content, ScoreTable) else bool(content)


def _lead_model(models: Sequence[ModelResult]) -> ModelResult | None:
    """The model the details are shown for: the best fusion, or the best model where there is none."""
    return next((model for model in models if model.kind == "fusion"), models[0] if models else None)


def _metric_names(models: Sequence[ModelResult], headline: str) -> list[str]:
    """Every metric of any model, the headline first, then in the order they were measured."""
    return list(dict.fromkeys([headline, *(name for model in models for name in model.metrics)]))


def _interval_axis(intervals: Sequence[Interval]) -> Axis:
    return axis([value for each in intervals for value in (each.low, each.value, each.high)])


def _difference_axis(comparisons: Sequence[Comparison]) -> Axis:
    found = _interval_axis([comparison.difference for comparison in comparisons])
    return axis([0.0, found.low, found.high]) if comparisons else found


def _score_table(models: Sequence[ModelResult], lead: ModelResult | None) -> ScoreTable:
    shown = [model for model in models if model.per_class and (model.kind != "baseline" or model is lead)]
    if lead in shown:  # the lead model's column comes first
        shown = [model for model in models if model is lead] + [model for model in shown if model is not lead]
    scores: list[Mapping[str, float]] = [{each.label: each.score for each in model.per_class} for model in shown]
    n_clips = {each.label: each.n_clips for model in shown for each in model.per_class}
    rows = [(label, n, tuple(by_label.get(label) for by_label in scores)) for label, n in n_clips.items()]
    rows.sort(key=lambda row: (row[2][0] is None, row[2][0] or 0.0, row[0]))
    return ScoreTable(tuple(model.name for model in shown), tuple(rows))


def _confusion(labels: tuple[str, ...], lead: ModelResult | None) -> ConfusionView | None:
    if lead is None or not lead.confusion:
        return None
    is_small = len(labels) <= LARGEST_HEAT_MAP
    n_pairs = _PAIRS_BESIDE_HEAT_MAP if is_small else _MOST_PAIRS
    pairs = most_confused(labels, lead.confusion, n_pairs)
    return ConfusionView(lead.name, labels, lead.confusion if is_small else (), pairs)
