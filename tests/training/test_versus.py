"""A new run against the one in use, on predictions made by hand; and what counts as news for a recipe."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage_schema.errors import InputError
from storage_schema.store import Store
from tests.training.synthetic import CENTRED, clip_id, clip_row, make_store, noise, put
from training.recipe import parse_recipe
from training.results import RunResult
from training.run import METRICS
from training.state import training_state
from training.verdict import PREDICTED, PREDICTIONS
from training.versus import weigh

RECIPE = parse_recipe('[data]\ndataset = "made"\nstreams = ["timbre"]\n', "the test's recipe")


def write_run(
    store: Store, like: RunResult, run_id: str, heard: dict[str, str], truth: dict[str, str], labels: list[str]
) -> str:
    """A run whose fusion hears `heard` in clips that are `truth`, by uri."""
    with store.new_run(run_id) as folder:
        document = like.model_copy(update={"run_id": run_id, "labels": tuple(labels)})
        (folder / METRICS).write_text(document.model_dump_json())
        rows = [
            (clip_id(uri), uri, "fusion", 1, [truth[uri]], [float(label == said) for label in labels])
            for uri, said in heard.items()
        ]
        columns = [
            pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), PREDICTED, strict=True)
        ]
        table = pa.table(columns, schema=PREDICTED.with_metadata({"labels": json.dumps(labels)}))
        pq.write_table(table, folder / PREDICTIONS)
    return run_id


@pytest.fixture(scope="module")
def truth() -> dict[str, str]:
    return {f"{i}.wav": "dog" if i % 2 else "rain" for i in range(60)}


def heard(truth: dict[str, str], n_wrong: int) -> dict[str, str]:
    other = {"dog": "rain", "rain": "dog"}
    return {uri: other[label] if i < n_wrong else label for i, (uri, label) in enumerate(truth.items())}


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", [], n_a_label=1)


def test_better_and_equal_runs_are_not_worse_and_a_clearly_worse_one_is(
    empty: Store, result: RunResult, truth: dict[str, str]
) -> None:
    for name, n_wrong in (("old", 10), ("same", 10), ("better", 4), ("a-little-worse", 11), ("worse", 25)):
        write_run(empty, result, name, heard(truth, n_wrong), truth, ["dog", "rain"])
    same, better, little, worse = (weigh(empty, name, "old") for name in ("same", "better", "a-little-worse", "worse"))
    assert (same.metric, same.n_clips, same.difference.value) == ("accuracy", 60, 0.0)
    assert (same.difference.low, same.difference.high) == (0.0, 0.0)
    assert [each.is_not_worse for each in (same, better, little, worse)] == [True, True, True, False]
    assert better.difference.value == pytest.approx(6 / 60)
    assert worse.sentence.startswith("accuracy 58.3 against 83.3 on 60 test clips of both, -25.0 points [")


def test_runs_are_weighed_on_the_clips_of_both_and_a_label_that_one_lacks_counts_against_it(
    empty: Store, result: RunResult, truth: dict[str, str]
) -> None:
    write_run(empty, result, "old", heard(truth, 0), truth, ["dog", "rain"])
    grown = truth | {f"new{i}.wav": "cow" for i in range(20)}
    write_run(empty, result, "new", grown, grown, ["cow", "dog", "rain"])
    assert weigh(empty, "new", "old").n_clips == 60  # the new clips were not asked of the old run
    partly = dict(list(grown.items())[50:])
    write_run(empty, result, "blind", partly, grown, ["cow", "dog", "rain"])
    assert weigh(empty, "blind", "old").n_clips == 10


def test_runs_without_a_clip_in_common_are_refused_with_the_remedy(
    empty: Store, result: RunResult, truth: dict[str, str]
) -> None:
    uris = list(truth)
    write_run(empty, result, "old", {uri: truth[uri] for uri in uris[:30]}, truth, ["dog", "rain"])
    write_run(empty, result, "new", {uri: truth[uri] for uri in uris[30:]}, truth, ["dog", "rain"])
    with pytest.raises(InputError, match=r"no clip was tested in both run new and run old.*by_hash"):
        weigh(empty, "new", "old")


def test_state_changes_with_clips_labels_features_and_recipe_and_with_nothing_else(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)], n_a_label=2)
    first = training_state(store.snapshot(), RECIPE)
    store.merge_clips([replace(clip_row("elsewhere.wav", ["cow"]), dataset="another")])
    assert store.snapshot().id != "1-1"
    assert training_state(store.snapshot(), RECIPE) == first

    store.merge_clips([clip_row("new.wav", ["dog"])])
    second = training_state(store.snapshot(), RECIPE)
    put(store, CENTRED, {clip_id("new.wav"): noise(CENTRED, 1.0, np.random.default_rng(1))})
    third = training_state(store.snapshot(), RECIPE)
    store.merge_clips([clip_row("new.wav", ["rain"])])
    fourth = training_state(store.snapshot(), RECIPE)
    other = RECIPE.model_copy(update={"task": "multi_label"})
    assert len({first, second, third, fourth, training_state(store.snapshot(), other)}) == 5
