"""The ablation as the report shows it: every subset once, best first, and the worth of each stream."""

import pytest

from tests.training.showcase import ablation
from tests.training.test_report import _Page, _result
from training.report import render_report
from training.report.ablation import view_ablation
from training.report.words import size
from training.results import Interval


def test_subsets_come_best_first_with_a_mark_for_every_fusion():
    view = view_ablation(ablation(), "accuracy")
    assert view.streams == ("pitch", "timbre", "neural")
    assert view.fusions == ("alone", "late", "feature")
    assert [len(line.streams) for line in view.lines] == [3, 2, 2, 1, 2, 1, 1]
    assert [mark.fusion for mark in view.lines[0].marks] == ["late", "feature"]
    assert view.lines[0].best.fusion == "late"
    assert all(0 < mark.place < 100 for line in view.lines for mark in line.marks)


def test_a_stream_is_worth_what_all_lose_without_it():
    worth = {each.stream: each for each in view_ablation(ablation(), "accuracy").worths}
    assert worth["neural"].gain == pytest.approx(0.75 - 0.53)
    assert worth["pitch"].gain == pytest.approx(0.02)
    assert worth["timbre"].alone.value == pytest.approx(0.5)
    assert next(iter(worth)) == "neural"
    assert worth["pitch"].bytes_per_hour is None


def test_what_was_not_measured_is_no_figure():
    view = view_ablation(ablation(without=(("pitch", "timbre"), ("neural",))), "accuracy")
    worth = {each.stream: each for each in view.worths}
    assert (worth["neural"].gain, worth["neural"].alone) == (None, None)
    assert view_ablation(ablation(), "map") is None
    assert view_ablation((), "accuracy") is None


def test_the_page_has_the_plot_only_where_there_is_an_ablation():
    without, with_one = (
        _Page(render_report(_result().model_copy(update={"ablation": rows}))) for rows in ((), ablation())
    )
    assert (without.count("table", "subsets"), with_one.count("table", "subsets")) == (0, 1)
    assert with_one.count("svg", "mark") == 3 + 3 + 2 * 4  # the legend, each stream alone, four subsets by two fusions
    assert "Is this stream worth it?" in with_one.words
    assert "Is this stream worth it?" not in without.words


def test_bytes_are_written_for_people():
    assert (size(None), size(12), size(33_000_000), size(4.2e9)) == ("–", "12 B", "33 MB", "4.2 GB")


def test_what_a_stream_adds_has_its_paired_interval_where_the_fusion_is_the_same():
    lost = Interval(value=-0.2, low=-0.3, high=-0.1)
    rows = [
        row.model_copy(update={"minus_all": lost}) if set(row.streams) == {"pitch", "timbre"} else row
        for row in ablation()
    ]
    worth = {each.stream: each for each in view_ablation(rows, "accuracy").worths}
    assert worth["neural"].gain_interval == Interval(value=0.2, low=0.1, high=0.3)
    assert worth["pitch"].gain_interval is None
    page = render_report(_result().model_copy(update={"ablation": tuple(rows)}))
    assert "<small>+10.0 to +30.0</small>" in page
