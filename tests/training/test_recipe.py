import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_schema.errors import InputError
from training.recipe import MAX_RECIPE_BYTES, Recipe, load_recipe, parse_recipe, recipe_to_toml

ROOT = Path(__file__).parents[2]
SMALLEST = '[data]\ndataset = "mine"\n'


def test_a_recipe_of_two_lines_works() -> None:
    recipe = parse_recipe(SMALLEST, "here")
    assert recipe.data.streams == ("pitch", "timbre", "neural", "waveform")
    assert recipe.data.missing == "refuse"
    assert recipe.task is None


def test_a_pipe_is_no_recipe_and_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recipe.toml")
    with pytest.raises(InputError, match="no regular file; name a TOML file"):
        load_recipe(tmp_path / "recipe.toml")


def test_every_recipe_of_the_project_loads() -> None:
    recipes = [ROOT / "flows" / "demo.toml", *sorted((ROOT / "recipes").glob("*.toml"))]
    named = {path.stem: load_recipe(path).data.dataset for path in recipes}
    assert named == {
        "demo": "general_midi",
        "esc10": "esc50",
        "esc50": "esc50",
        "fsd50k": "fsd50k",
        "urbansound8k": "urbansound8k",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[data]\ndataset = "a"\ncolour = 1\n',
            "[data] has no setting 'colour'; choose from dataset, streams, labels, missing",
        ),
        (SMALLEST + "[paint]\n", "there is no setting 'paint'; choose from task, data, split"),
        ('task = "single_label"\n', "[data] is missing"),
        ("[data]\n", "[data] dataset is missing"),
        (SMALLEST + "[model]\ndim = 64\nheads = 5\n", "dim is 64, which must be even and divisible by heads, 5"),
        (SMALLEST + "[window]\nlength_s = 0.0333333\nhop_s = 0.03\n", "no whole number of milliseconds"),
        (SMALLEST + "[window]\nlength_s = 0.5\nhop_s = 2\n", "hop_s is 2.0 s, longer than the window of 0.5 s"),
        (SMALLEST + "[fit]\nepochs = 0\n", "[fit] epochs is 0: input should be greater than or equal to 1"),
        (SMALLEST + "[fit]\nlearning_rate = nan\n", "[fit] learning_rate is nan: "),
        (SMALLEST + '[split]\nkind = "random"\n', "[split] kind is 'random': input should be 'folds', 'official'"),
        ('[data]\ndataset = "a"\nstreams = ["pitch", "pitch"]\n', "streams names one stream twice"),
        ('[data]\ndataset = "a"\nstreams = ["../pitch"]\n', "[data] streams.0 is '../pitch': "),
        ("[data\n", "the recipe here is not TOML: "),
    ],
)
def test_each_mistake_gives_one_clear_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(text, "here")
    message = str(caught.value)
    assert sentence in message
    assert message.startswith("the recipe here")
    assert "\n" not in message.replace(text, "")
    assert "pydantic" not in message


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(SMALLEST + "[fit]\nepochs = 0\nspeed = 3\n[model]\nlayers = 0\n", "here")
    assert all(word in str(caught.value) for word in ("epochs", "'speed'", "layers"))


def test_a_file_too_long_not_text_or_absent_is_refused_by_name(tmp_path: Path) -> None:
    long, binary = tmp_path / "long.toml", tmp_path / "binary.toml"
    long.write_bytes(b"#" * (MAX_RECIPE_BYTES + 1))
    binary.write_bytes(b"\xff\xfe")
    for path in (long, binary, tmp_path / "absent.toml"):
        with pytest.raises(InputError, match=str(path)):
            load_recipe(path)


@settings(deadline=None)
@given(
    dataset=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    epochs=st.integers(1, 10_000),
    share=st.floats(0.01, 0.99),
    streams=st.lists(st.sampled_from(["pitch", "timbre", "my.own-1"]), min_size=1, unique=True),
)
def test_a_recipe_written_and_read_again_is_equal(dataset: str, epochs: int, share: float, streams: list[str]) -> None:
    recipe = Recipe.model_validate(
        {
            "data": {"dataset": dataset, "streams": streams, "fingerprints": {streams[0]: "ab" * 16}},
            "split": {"validation_share": share, "test_folds": [1, 2]},
            "fit": {"epochs": epochs},
        }
    )
    assert parse_recipe(recipe_to_toml(recipe), "written") == recipe
