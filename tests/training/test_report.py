"""The report: one file, nothing to fetch, every name escaped, and words that claim no more than the intervals do."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_schema import open_store
from training.report import render_report, write_report
from training.report.figures import axis, most_confused
from training.report.words import count, figure, main_comparison, metric_name, seconds, signed, verdict
from training.results import ClassScore, Comparison, EpochPoint, Interval, ModelResult, Provenance, RunResult

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "line", "circle", "polyline", "rect", "br", "link", "img"}


class _Page(HTMLParser):
    """What a browser would see: elements with their attributes, text by element, and tags left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.mismatched.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))

    def count(self, tag: str, css_class: str | None = None) -> int:
        return sum(
            name == tag and (css_class is None or css_class in (attributes.get("class") or "").split())
            for name, attributes in self.elements
        )

    @property
    def words(self) -> str:
        return " ".join(" ".join(text for tag, text in self.text if tag not in ("script", "style")).split())


def _model(name: str, kind: str, value: float, labels: tuple[str, ...], *, is_multi: bool = False) -> ModelResult:
    random = np.random.default_rng(len(name))
    names = ("map", "mauc", "d_prime") if is_multi else ("accuracy", "macro_f1")
    confusion = () if is_multi else tuple(map(tuple, random.integers(0, 5, (len(labels), len(labels))).tolist()))
    points = [
        EpochPoint(epoch=e, train_loss=1 / e, validation_loss=1.5 / e, validation_score=1 - 1 / e) for e in (1, 2, 3)
    ]
    return ModelResult(
        name=name,
        kind=kind,
        n_parameters=123_456,
        seconds=61.0,
        metrics={metric: Interval(value=value, low=value - 0.05, high=value + 0.05) for metric in names},
        per_class=tuple(ClassScore(label=label, n_clips=4, score=float(random.random())) for label in labels),
        confusion=confusion,
        curves=(tuple(points), tuple(points)) if kind == "stream" else (),
        fusion_weights={"neural": 1.25, "pitch": -0.5} if kind == "fusion" else {},
    )


def _result(
    labels: tuple[str, ...] = ("dog", "cat", "rain"), low: float = 0.01, high: float = 0.05, *, is_multi: bool = False
) -> RunResult:
    rows = (
        ("majority class", "baseline", 0.1),
        ("pitch", "stream", 0.4),
        ("neural", "stream", 0.8),
        ("fusion", "fusion", 0.83),
    )
    difference = Interval(value=(low + high) / 2, low=low, high=high)
    return RunResult(
        run_id="run-1",
        dataset="zoo",
        task="multi_label" if is_multi else "single_label",
        headline="map" if is_multi else "accuracy",
        labels=labels,
        n_train=1200,
        n_validation=300,
        n_test=272,
        n_folds=2,
        rule="A clip's score is the mean of its windows' probabilities.",
        models=tuple(_model(name, kind, value, labels, is_multi=is_multi) for name, kind, value in rows),
        comparisons=(
            Comparison(name="fusion", other="pitch", difference=Interval(value=0.43, low=0.4, high=0.46)),
            Comparison(name="fusion", other="neural", difference=difference),
        ),
        provenance=Provenance(
            snapshot="clips@3",
            fingerprints={"pitch": "0123abcd", "neural": "4567cdef"},
            recipe='dataset = "zoo"\n',
            versions={"python": "3.11.2"},
            seed=7,
            started_at="2026-01-02T03:04:05Z",
        ),
    )


LARGE = tuple(f"class {i}" for i in range(128))
RESULTS = {
    "three classes": _result(),
    "128 classes": _result(LARGE),
    "multi-label": _result(LARGE, is_multi=True),
    "evil names": _result((EVIL, '" onload="alert(1)', "a & b")),
    "one model": _result().model_copy(update={"models": _result().models[:1], "comparisons": ()}),
    "no model": _result().model_copy(update={"models": (), "comparisons": ()}),
}


@pytest.mark.parametrize("case", RESULTS)
def test_every_report_is_whole_html_that_names_every_model(case: str) -> None:
    page = _Page(render_report(RESULTS[case]))
    assert (page.open, page.mismatched) == ([], [])
    for model in RESULTS[case].models:
        assert model.name in page.words
    assert RESULTS[case].rule in page.words


@pytest.mark.parametrize("case", RESULTS)
def test_a_report_has_nothing_to_fetch(case: str) -> None:
    html = render_report(RESULTS[case])
    page = _Page(html)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    assert not [
        attributes
        for _, attributes in page.elements
        for name in ("src", "href", "xlink:href", "action")
        if not (attributes.get(name) or "#").startswith(("#", "data:"))
    ]
    assert not [text for text in ("http://", "https://", "url(", "@import") if text in html]
    policies = [a.get("content") or "" for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.startswith("default-src 'none'") for policy in policies] == [True]


def test_labels_and_names_are_text_and_never_markup() -> None:
    result = _result((EVIL, '" onload="alert(1)', "plain"))
    result = result.model_copy(
        update={
            "dataset": EVIL,
            "rule": EVIL,
            "models": tuple(model.model_copy(update={"name": f"{EVIL}{model.name}"}) for model in result.models),
            "comparisons": (),
            "provenance": result.provenance.model_copy(update={"recipe": "</pre>" + EVIL, "versions": {EVIL: EVIL}}),
        }
    )
    html = render_report(result)
    page = _Page(html)
    assert EVIL not in html
    assert page.words.count('alert("x")') > 10
    assert page.count("script") == 1  # the report's own
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_a_small_task_has_a_heat_map_and_a_large_one_a_list_of_pairs() -> None:
    small, large, multi = (
        _Page(render_report(RESULTS[case])) for case in ("three classes", "128 classes", "multi-label")
    )
    assert (small.count("table", "heat"), large.count("table", "heat"), multi.count("table", "heat")) == (1, 0, 0)
    assert (large.count("ol", "pairs"), multi.count("ol", "pairs")) == (1, 0)
    assert large.count("li") == 20


def test_the_table_of_classes_opens_with_the_weakest_of_the_fusion() -> None:
    page = _Page(render_report(_result()))
    fusion = {each.label: each.score for each in _result().models[-1].per_class}
    shown = [a["data-value"] for tag, a in page.elements if tag == "td" and a.get("data-value") in fusion]
    assert shown == sorted(fusion, key=lambda label: fusion[label])


def test_every_fold_draws_its_curves() -> None:
    page = _Page(render_report(_result()))
    assert page.count("polyline") == 2 * 2 * 3  # streams, folds, and two losses beside the score
    points = [a["points"] for tag, a in page.elements if tag == "polyline"]
    assert all(point and len(point.split()) == 3 for point in points)


def test_the_report_is_written_into_the_run_and_replaces_an_older_one(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    where = write_report(store, _result())
    assert write_report(store, _result(LARGE)) == where
    assert [path.name for path in Path(where).parent.iterdir()] == ["report.html"]
    assert "class 127" in Path(where).read_text(encoding="utf-8")


def test_the_same_result_gives_the_same_bytes() -> None:
    assert render_report(_result()) == render_report(_result())


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, "Fusion beats neural, the best single stream, by 3.0 points of accuracy"),
        (-0.05, -0.01, "Fusion falls behind neural, the best single stream, by 3.0 points of accuracy"),
        (-0.02, 0.04, "cannot be told apart on 272 test clips"),
        (0.0, 0.04, "cannot be told apart"),
        (-0.04, 0.0, "cannot be told apart"),
        (float("nan"), float("nan"), "cannot be told apart"),
    ],
)
def test_the_verdict_claims_a_winner_only_where_the_interval_leaves_zero(
    low: float, high: float, expected: str
) -> None:
    assert expected in verdict(_result(low=low, high=high))


def test_the_verdict_compares_with_the_best_stream_and_not_with_the_first() -> None:
    comparison = main_comparison(_result())
    assert comparison is not None
    assert comparison.other == "neural"


def test_without_a_comparison_the_verdict_says_that_nothing_was_compared() -> None:
    assert "nothing was compared" in verdict(RESULTS["one model"])
    assert verdict(RESULTS["no model"]) == "This run holds no models."


def test_a_baseline_that_the_fusion_does_not_beat_is_named_at_the_top() -> None:
    comparison = Comparison(
        name="fusion", other="majority class", difference=Interval(value=-0.02, low=-0.03, high=-0.01)
    )
    result = _result().model_copy(update={"comparisons": (*_result().comparisons, comparison)})
    assert "Fusion falls behind majority class, a baseline, by 2.0 points" in _Page(render_report(result)).words


def test_figures_that_are_not_finite_are_drawn_as_missing() -> None:
    nowhere = Interval(value=float("nan"), low=float("nan"), high=float("inf"))
    result = _result()
    models = tuple(model.model_copy(update={"metrics": {"accuracy": nowhere}}) for model in result.models)
    page = _Page(render_report(result.model_copy(update={"models": models})))
    numbers = [value or "" for tag, a in page.elements if tag in ("line", "circle", "rect") for value in a.values()]
    assert not [text for text in (*numbers, *page.words.split()) if text.rstrip("%") in ("nan", "inf")]
    assert page.words.count("– to –") == 2 * len(models)  # beside the dot and in the table


def test_numbers_are_written_for_people() -> None:
    assert (figure(0.8274, "accuracy"), figure(2.345, "d_prime"), figure(-0.01, "map")) == ("82.7", "2.35", "−1.0")
    assert (signed(0.03, "map"), signed(-0.03, "map"), signed(0.0, "map")) == ("+3.0", "−3.0", "0.0")
    assert (seconds(4.2), seconds(61), seconds(1200)) == ("4.2 s", "61 s", "20 min")
    assert (count(1_234_567), metric_name("macro_f1"), metric_name("new_one")) == (
        "1\u202f234\u202f567",
        "macro F1",
        "new one",
    )


def test_confused_pairs_are_sorted_by_clips_and_leave_out_the_right_ones() -> None:
    pairs = most_confused(("a", "b", "c"), ((9, 1, 0), (3, 1, 0), (0, 3, 90)), 2)
    assert [(pair.true, pair.taken_for, pair.n, pair.n_true) for pair in pairs] == [("b", "a", 3, 4), ("c", "b", 3, 93)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_has_few_round_ticks(values: list[float]) -> None:
    found = axis(values)
    slack = (found.high - found.low) * 1e-6
    assert found.low - slack <= min(values)
    assert found.high + slack >= max(values)
    assert 2 <= len(found.ticks) <= 8
    assert all(0 <= found.at(value) <= 100 for value in values)
