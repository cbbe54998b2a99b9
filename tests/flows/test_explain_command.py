"""`timbrel explain`: a run by class, a clip by label, as a table and as JSON."""

import json

import pytest

from storage_schema.store import open_store
from tests.training.synthetic import BLOCKS, CENTRED, make_store
from training.recipe import parse_recipe
from training.run import train

RECIPE = """[data]
dataset = "made"
streams = ["timbre", "neural"]
[model]
dim = 8
layers = 1
heads = 1
[fit]
epochs = 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The path of a store with a finished run "made"."""
    folder = tmp_path_factory.mktemp("explain") / "store"
    store = make_store(folder, [(CENTRED, 1.0), (BLOCKS, 2.0)], labels=("bell", "dog\x1b[2J", "[rain]"), n_a_label=6)
    train(store, parse_recipe(RECIPE, "made"), device="cpu", run_id="made")
    return folder


def test_a_run_is_a_table_of_its_classes_and_the_same_in_json(timbrel, made):
    code, out, _ = timbrel("explain", "made", "--store", made)
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split() == ["class", "clips", "probability", "unheard", "timbre", "neural"]
    assert [line.split()[0] for line in lines[2:6]] == ["[rain]", "bell", r"dog\x1b[2J", "all"]
    assert "sum to the probability" in lines[6]
    code, out, _ = timbrel("explain", "made", "--store", made, "--json")
    assert code == 0
    document = json.loads(out)
    assert [each["n_clips"] for each in document["classes"]] == [6, 6, 6]
    for each, line in zip([*document["classes"], None], lines[2:6], strict=True):
        parts = document["overall"] if each is None else each["parts"]
        assert sum(parts["streams"].values()) + parts["base"] == pytest.approx(parts["score"])
        shown = [float(cell) for cell in line.split()[2:]]
        points = [100 * part for part in (parts["score"], parts["base"], *parts["streams"].values())]
        assert shown == pytest.approx(points, abs=0.051)


def test_a_clip_is_a_table_of_its_likeliest_labels_and_the_true_one(timbrel, made):
    code, out, _ = timbrel("explain", "made", "bell/3", "--top", "1", "--store", made, "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["uri"], document["labels"], document["fold"]) == ("bell/3.wav", ["bell"], 1)
    labels = list(document["parts"])
    assert sorted(labels) == ["[rain]", "bell", "dog\x1b[2J"]
    for wanted in (1, 3):
        code, out, _ = timbrel("explain", "made", "bell/3", "--top", wanted, "--store", made)
        assert code == 0
        lines = out.splitlines()
        assert lines[0] == f"bell/3.wav ({document['clip_id']}), labelled bell"
        assert lines[1] == "by the models of fold 1, among whose test clips it is"
        rows = [line.split()[0] for line in lines[3:-1]]
        likeliest = [label.replace("\x1b", r"\x1b") for label in labels[:wanted]]
        assert rows == likeliest + [label for label in ["bell"] if label not in likeliest]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("made", "bel/3.wav"), "made has no clip 'bel/3.wav' in snapshot"),
        (("made", "bell/"), "6 clips of made begin with 'bell/', such as bell/"),
        (("mad",), "has no run 'mad'; its newest: made"),
        (("made", "--snapshot", "never"), "never"),
    ],
)
def test_a_run_or_clip_that_does_not_exist_is_one_sentence(timbrel, made, words, sentence):
    code, out, err = timbrel("explain", *words, "--store", made)
    assert (code, out) == (2, "")
    assert sentence in err


def test_explaining_leaves_the_store_as_it_was(timbrel, made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert timbrel("explain", "made", "bell/3.wav", "--store", made)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    assert open_store(made).runs() == ["made"]
