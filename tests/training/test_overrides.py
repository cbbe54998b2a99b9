"""Settings beside a recipe: typed as in TOML, checked as in the file, and named in what is said about them."""

from pathlib import Path
from typing import Any

import pytest

from storage_schema.errors import InputError
from training.overrides import override
from training.recipe import load_recipe, parse_recipe, recipe_to_toml

TEXT = '[data]\ndataset = "mine"\n[fit]\nepochs = 3\n'


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fit.epochs=5", {"fit": {"epochs": 5, "mixup": 0}}),
        ("fit.refit = false", {"fit": {"epochs": 3, "mixup": 0, "refit": False}}),
        ("fit.learning_rate=1e-3", {"fit": {"epochs": 3, "mixup": 0, "learning_rate": 1e-3}}),
        ('data.streams=["pitch", "timbre"]', {"data": {"streams": ["pitch", "timbre"]}}),
        ("split.kind=held_out", {"split": {"kind": "held_out"}}),  # a shell has eaten the quotes
        ("data.dataset=my own \x7f set", {"data": {"dataset": "my own \x7f set"}}),
        ("data.dataset=", {"data": {"dataset": ""}}),
        ('data.fingerprints."my.own-1"=ab', {"data": {"fingerprints": {"my.own-1": "ab"}}}),
        ("task=multi_label", {"task": "multi_label"}),
    ],
)
def test_a_value_has_the_type_it_has_in_toml(setting: str, expected: dict[str, Any]) -> None:
    document = {"fit": {"epochs": 3, "mixup": 0}}
    assert override(document, [setting]) == document | expected
    assert document == {"fit": {"epochs": 3, "mixup": 0}}  # untouched


def test_the_last_of_several_settings_wins_and_others_stay() -> None:
    recipe = parse_recipe(TEXT, "here", ["fit.epochs=5", "fit.seed=1", "fit.epochs=7"])
    assert (recipe.fit.epochs, recipe.fit.seed, recipe.data.dataset) == (7, 1, "mine")
    assert parse_recipe(recipe_to_toml(recipe), "written") == recipe  # a run records what it did


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("fit.epoch=5", "the recipe here with --set fit.epoch=5 cannot be followed: [fit] has no setting 'epoch'"),
        ("paint.colour=5", "there is no setting 'paint'; choose from task, data"),
        ("fit.epochs=many", "[fit] epochs is 'many': input should be a valid integer"),
        ("fit.epochs.x=5", "--set fit.epochs.x=5: epochs is 3 in the recipe, which has no settings below it"),
        ("fit.epochs", "--set fit.epochs: write SECTION.SETTING=VALUE, such as fit.epochs=5"),
        ("=5", "--set =5: write SECTION.SETTING=VALUE"),
        ("fit epochs=5", "--set fit epochs=5: write SECTION.SETTING=VALUE"),
        ("fit.epochs=" + "[" * 5_000, "[fit] epochs is"),
    ],
)
def test_each_mistake_gives_one_clear_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(TEXT, "here", [setting])
    assert sentence in str(caught.value)


def test_settings_change_what_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(TEXT)
    assert load_recipe(tmp_path / "recipe.toml", ["fit.seed=4"]).fit.seed == 4
    assert load_recipe(tmp_path / "recipe.toml").fit.seed == 0
