"""Clips that lack a stream, kept by `missing = "mask"` and judged by what they have."""

from pathlib import Path

import numpy as np
import pytest

from storage_schema.errors import InputError
from storage_schema.store import Store, open_store
from tests.training.conftest import QUICK
from tests.training.synthetic import BLOCKS, CENTRED, clip_id, clip_row, noise, put
from training.model import subset_probabilities
from training.recipe import Recipe, parse_recipe, with_kind
from training.report import write_report
from training.run import open_finished, train

LABELS = ("bell", "dog", "rain")
N_LACKING = 9
RECIPE = parse_recipe(
    QUICK.replace('["pitch", "timbre", "neural", "waveform"]', '["timbre", "neural"]\nmissing = "mask"')
    + "[split]\ntest_folds = [1]\n",
    "the test's recipe",
)


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """36 clips; both streams tell the labels apart; the first three clips of each label have no `neural`."""
    store = open_store(tmp_path_factory.mktemp("gappy") / "store", create=True)
    generator = np.random.default_rng(0)
    rows = [
        clip_row(f"{label}/{i}.wav", [label], fold=1 + i % 3, source_group=f"{label} {i}")
        for label in LABELS
        for i in range(12)
    ]
    store.merge_clips(rows)
    for spec in (CENTRED, BLOCKS):
        clips = {}
        for row in rows:
            if spec is BLOCKS and int(Path(row.uri).stem) < 3:
                continue
            arrays = noise(spec, 1.0, generator)
            arrays[spec.arrays[0].name][:, LABELS.index(row.labels[0])] += 2.0
            clips[clip_id(row.uri)] = arrays
        put(store, spec, clips)
    return store


@pytest.mark.parametrize("kind", ["late", "both"])
def test_a_clip_is_judged_by_the_streams_it_has(gappy: Store, kind: str) -> None:
    result = train(gappy, with_kind(RECIPE, kind), device="cpu", run_id=kind)
    assert result.n_test == 12
    assert f"{N_LACKING} clips lack the stream neural, which is masked there" in result.notes
    run = open_finished(gappy, kind)
    fold, model = run.corpus.folds[0], run.models[0]
    frames = run.corpus.frames
    lacks = frames["neural"].lengths[fold.test] == 0
    assert lacks.sum() == 3
    whole, alone = subset_probabilities(model, frames, fold.test, run.corpus.ticks, [("timbre", "neural"), ("timbre",)])
    np.testing.assert_allclose(whole[lacks], alone[lacks], atol=1e-5)
    assert np.abs(whole[~lacks] - alone[~lacks]).max() > 0.01
    assert all(np.isfinite(figure.value) for row in result.models for figure in row.metrics.values())
    assert write_report(gappy, result).endswith("report.html")


def test_without_a_word_of_it_the_run_is_refused(gappy: Store) -> None:
    refusing = RECIPE.model_copy(update={"data": RECIPE.data.model_copy(update={"missing": "refuse"})})
    with pytest.raises(InputError, match=r'9 of 36 clips have no neural features .*"mask" to use what they have'):
        train(gappy, refusing, device="cpu")


def test_a_stream_that_no_clip_has_is_refused_all_the_same(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    store.merge_clips([clip_row("bell/0.wav", ["bell"], fold=1), clip_row("dog/0.wav", ["dog"], fold=2)])
    store.merge_clips([clip_row("elsewhere.wav", ["bell"], dataset="other")])
    put(store, CENTRED, {clip_id("bell/0.wav"): noise(CENTRED, 1.0, np.random.default_rng(0))})
    put(store, BLOCKS, {clip_id("elsewhere.wav"): noise(BLOCKS, 1.0, np.random.default_rng(0))})
    with pytest.raises(InputError, match="no clip of made has the stream neural"):
        train(store, recipe_of_two(RECIPE), device="cpu")


def recipe_of_two(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"split": recipe.split.model_copy(update={"test_folds": ()})})
