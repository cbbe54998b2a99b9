"""Every subset of streams and every fusion, judged on the same clips."""

import numpy as np
import pytest

from storage_schema.store import Store
from tests.training.conftest import QUICK
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, make_store
from training.ablation import Variant, choose_variants
from training.recipe import KINDS, Recipe, parse_recipe
from training.results import RunResult
from training.run import train

RECIPE = parse_recipe(
    QUICK.replace(', "waveform"]', "]").replace("epochs = 10", "epochs = 4")
    + "refit = false\n[split]\ntest_folds = [1]\n",
    "the test's recipe",
)


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunResult]:
    store = make_store(tmp_path_factory.mktemp("ablation") / "store", [(PITCH, 0.0), (CENTRED, 1.0), (BLOCKS, 2.0)])
    variants = choose_variants(RECIPE, is_full=False)
    return store, train(store, RECIPE, device="cpu", run_id="ablated", variants=variants)


def test_by_default_every_subset_has_the_recipes_fusion_and_the_whole_has_all() -> None:
    chosen = choose_variants(RECIPE, is_full=False)
    assert len(chosen) == 3 + 3 + 4
    assert {one.fusion for one in chosen if one.streams == RECIPE.data.streams} == {
        "late",
        "feature",
        "representation",
        "both",
    }
    assert {one.fusion for one in chosen if len(one.streams) == 2} == {"late"}
    assert len(choose_variants(RECIPE, is_full=True)) == 3 + 3 * 4 + 4


def test_rows_that_the_run_has_too_say_the_same(ablated: tuple[Store, RunResult]) -> None:
    result = ablated[1]
    rows = {(row.fusion, row.streams): row for row in result.ablation}
    assert len(rows) == len(result.ablation) == 10
    models = {model.name: model for model in result.models}
    for stream in RECIPE.data.streams:
        row = rows["alone", (stream,)]
        assert row.metrics == models[stream].metrics
        assert row.n_parameters == models[stream].n_parameters
    whole = rows["late", RECIPE.data.streams]
    assert whole.metrics == models["fusion"].metrics
    assert whole.n_parameters == models["fusion"].n_parameters
    assert whole.minus_all is None


def test_a_part_is_compared_with_the_whole_clip_by_clip(ablated: tuple[Store, RunResult]) -> None:
    result = ablated[1]
    whole = next(row for row in result.ablation if row.fusion == "late" and len(row.streams) == 3)
    parts = [row for row in result.ablation if row.fusion == "late" and len(row.streams) == 2]
    assert len(parts) == 3
    for row in parts:
        expected = row.metrics["accuracy"].value - whole.metrics["accuracy"].value
        assert row.minus_all.value == pytest.approx(expected)
        assert row.minus_all.low <= row.minus_all.value <= row.minus_all.high
    deaf = next(row for row in result.ablation if row.streams == ("pitch",))
    assert deaf.metrics["accuracy"].value < whole.metrics["accuracy"].value


def test_costs_are_those_of_the_streams_that_take_part(ablated: tuple[Store, RunResult]) -> None:
    rows = {(row.fusion, row.streams): row for row in ablated[1].ablation}
    alone = [rows["alone", (stream,)] for stream in RECIPE.data.streams]
    for fusion in KINDS:
        whole = rows[fusion, RECIPE.data.streams]
        np.testing.assert_allclose(whole.extract_s_per_hour, sum(row.extract_s_per_hour for row in alone))
        np.testing.assert_allclose(whole.bytes_per_hour, sum(row.bytes_per_hour for row in alone))
        assert whole.train_s > 0
    np.testing.assert_allclose(rows["late", RECIPE.data.streams].train_s, sum(row.train_s for row in alone), rtol=1e-6)


def test_a_joint_recipe_ablates_its_own_fusion_beside_the_late_one(ablated: tuple[Store, RunResult]) -> None:
    recipe = with_kind_of(RECIPE, "representation")
    variants = [Variant("representation", ("timbre", "neural")), Variant("late", ("timbre", "neural"))]
    result = train(ablated[0], recipe, device="cpu", variants=variants)
    by_fusion = {row.fusion: row for row in result.ablation}
    assert set(by_fusion) == {"representation", "late"}
    assert by_fusion["representation"].n_parameters != by_fusion["late"].n_parameters
    fusion = next(model for model in result.models if model.name == "fusion")
    assert by_fusion["representation"].metrics == fusion.metrics
    assert by_fusion["representation"].n_parameters == fusion.n_parameters


def with_kind_of(recipe: Recipe, kind: str) -> Recipe:
    return recipe.model_copy(
        update={
            "fusion": recipe.fusion.model_copy(update={"kind": kind}),
            "data": recipe.data.model_copy(update={"streams": ("timbre", "neural")}),
        }
    )
