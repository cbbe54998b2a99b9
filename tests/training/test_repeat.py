"""A run repeated: the same figures, however the store has changed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage_schema.errors import StoreError
from storage_schema.store import Store
from tests.training.conftest import QUICK
from tests.training.synthetic import CENTRED, clip_row, make_store, noise, put
from training.recipe import parse_recipe
from training.repeat import repeat
from training.run import train

RECIPE = parse_recipe(QUICK.replace('["pitch", "timbre", "neural", "waveform"]', '["timbre"]'), "the test's recipe")


@pytest.fixture
def small(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", [(CENTRED, 1.0)])


def test_a_repetition_reads_the_snapshot_and_the_fingerprints_of_the_run(small: Store) -> None:
    first = train(small, RECIPE, device="cpu", run_id="first")
    newer, generator = replace(CENTRED, version=99), np.random.default_rng(1)
    put(small, newer, {clip: noise(newer, 1.0, generator) for clip in small.snapshot().stream("timbre").clip_ids})
    small.merge_clips([clip_row("bell/new.wav", ["bell"], fold=1)])
    repetition = repeat(small, "first", device="cpu")
    assert repetition.again.run_id != "first"
    assert repetition.again.provenance.snapshot == first.provenance.snapshot != small.snapshot().id
    assert repetition.again.provenance.fingerprints == first.provenance.fingerprints
    assert repetition.differences == []
    assert repetition.changed_versions == []


def test_a_repetition_names_the_figures_and_the_libraries_that_differ(small: Store) -> None:
    first = train(small, RECIPE, device="cpu", run_id="first")
    document = first.model_dump(mode="json")
    document["models"][0]["metrics"]["accuracy"]["value"] = 2.0
    document["provenance"]["versions"]["torch"] = "0.1"
    small.add_to_run("first", "metrics.json", type(first).model_validate(document).model_dump_json().encode())
    repetition = repeat(small, "first", device="cpu")
    assert [line.split(" ->")[0] for line in repetition.differences] == [f"{first.models[0].name} accuracy 2.0"]
    assert [line.split()[:3] for line in repetition.changed_versions] == [["torch", "0.1", "->"]]


def test_a_run_that_is_not_there_cannot_be_repeated(small: Store) -> None:
    with pytest.raises(StoreError, match="no finished run"):
        repeat(small, "nothing")
