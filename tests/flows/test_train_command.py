"""`timbrel train` with settings beside the recipe: what the run records is what it did."""

import json

import pytest

from tests.training.synthetic import CENTRED, make_store
from training.recipe import load_recipe

RECIPE = """[data]
dataset = "made"
streams = ["timbre"]
[model]
dim = 8
layers = 1
heads = 1
[fit]
epochs = 40
"""


@pytest.fixture
def made(tmp_path):
    """A store of one stream, and a recipe for it."""
    make_store(tmp_path / "store", [(CENTRED, 1.0)])
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_settings_of_the_command_line_take_the_place_of_the_recipes_and_are_recorded(timbrel, made):
    words = (
        "--set",
        "fit.epochs=1",
        "--set",
        "split.test_folds=[2]",
        "--seed",
        "7",
        "--store",
        made / "store",
        "--json",
    )
    code, out, _ = timbrel("train", made / "recipe.toml", *words)
    assert code == 0
    document = json.loads(out)
    assert document["n_folds"] == 1
    assert document["provenance"]["seed"] == 7
    recorded = load_recipe(made / "store" / "runs" / document["run_id"] / "recipe.toml")
    assert (recorded.fit.epochs, recorded.fit.seed, recorded.split.test_folds) == (1, 7, (2,))
    assert recorded.model.dim == 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "fit.epoch=1"), "[fit] has no setting 'epoch'; choose from epochs, "),
        (("--set", "fit.epochs"), "--set fit.epochs: write SECTION.SETTING=VALUE, such as fit.epochs=5"),
        (("--seed", "99999999999"), "[fit] seed is 99999999999: "),
    ],
)
def test_a_setting_that_does_not_exist_is_one_sentence(timbrel, made, words, sentence):
    code, out, err = timbrel("train", made / "recipe.toml", *words, "--store", made / "store")
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_repetition_takes_no_settings(timbrel, made):
    code, _, err = timbrel("train", "--like", "a-run", "--seed", "1", "--store", made / "store")
    assert code == 2
    assert "--like repeats a run as it was; leave --set and --seed out" in err
