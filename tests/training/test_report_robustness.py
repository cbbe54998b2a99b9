"""Robustness as the report shows it: a line a condition, a row a subset, and every name escaped."""

import pytest

from tests.training.showcase import robustness
from tests.training.test_report import EVIL, _Page, _result
from training.report import render_report
from training.report.robustness import view_robustness


def test_conditions_keep_their_order_and_show_all_streams_and_each_alone():
    view = view_robustness(robustness())
    assert [line.condition for line in view.lines] == ["clean", "white noise, 0 dB", "low-pass, 4 kHz"]
    assert [each.stream for each in view.lines[0].alone] == ["pitch", "timbre", "neural"]
    assert view.clean == view.lines[0].score.value == pytest.approx(0.9)
    assert view.lines[1].difference.value == pytest.approx(-0.3)
    assert view.scale.low <= 0.5
    assert view.scale.high >= 0.95


def test_subsets_come_best_clean_first_and_colour_tells_the_loss():
    rows = view_robustness(robustness()).rows
    clean = [cells[0].figure.score.value for _, cells in rows]
    assert len(rows) == 7
    assert clean == sorted(clean, reverse=True)
    _, (first, noisy, low) = rows[0]
    assert (first.tint, noisy.tint, noisy.is_loss, noisy.is_sure) == (0, 60, True, True)
    assert 0 < low.tint < 60
    assert not low.is_sure


def test_what_was_not_measured_is_no_figure():
    assert view_robustness(None) is None
    found = robustness()
    sparse = found.model_copy(update={"scores": tuple(e for e in found.scores if e.condition == "clean")})
    view = view_robustness(sparse)
    assert [line.score is None for line in view.lines] == [False, True, True]
    assert all(cells[1:] == (None, None) for _, cells in view.rows)
    assert "–" in _Page(render_report(_result(), robustness=sparse)).words


def test_the_page_has_the_section_only_where_robustness_was_measured():
    without, with_it = (_Page(render_report(_result(), robustness=found)) for found in (None, robustness(uri=EVIL)))
    assert (without.count("table", "damaged"), with_it.count("table", "damaged")) == (0, 1)
    assert "When the recordings are damaged" not in without.words
    assert with_it.count("div", "robust") == 1
    assert with_it.count("svg", "mark") == 3 + 3 * 3  # the legend, and each stream under each condition
    assert EVIL in with_it.words
    assert with_it.count("script") == 1
    assert (with_it.open, with_it.mismatched) == ([], [])


def test_a_run_of_one_stream_has_no_table_of_subsets():
    found = robustness(streams=("timbre",))
    page = _Page(render_report(_result(), robustness=found))
    assert page.count("table", "damaged") == 0
    assert page.count("div", "robust") == 1
    assert page.count("svg", "mark") == 0
