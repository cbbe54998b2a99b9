"""Figures of robustness: the usual metric and resamples, paired, and each clip by the fold that held it out."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage_schema.errors import InputError, StoreError
from storage_schema.layout import run_key
from tests.training.showcase import robustness
from tests.training.synthetic import CENTRED, make_store
from training.bootstrap import draw
from training.judge import FUSION
from training.metrics import HEADLINE, make_measure
from training.model import subset_probabilities
from training.recipe import parse_recipe
from training.robustness.document import ROBUSTNESS, read_robustness
from training.robustness.headline import draw_counts, headline_draws
from training.robustness.judge import choose_clips, difference_to_run, make_scores, ordered_subsets, score_copies
from training.run import open_finished, train
from training.splits import Fold

PLENTY = 2**30


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_all_resamples_at_once_give_what_one_at_a_time_gives(task):
    rng = np.random.default_rng(0)
    targets = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 30)]
    if task == "multi_label":
        targets = np.maximum(targets, rng.random((30, 4)) < 0.2).astype(np.float32)
        targets[:, 3] = 0
        targets[7, 3] = 1  # a label that many resamples lack
    probabilities = np.round(rng.random((30, 4)), 1).astype(np.float32)  # with ties
    found = headline_draws(task, targets, probabilities, draw_counts(30, seed=3))
    slow = draw(make_measure(task, targets, probabilities), 30, seed=3)
    name = HEADLINE[task]
    assert found.values[name] == pytest.approx(slow.values[name], abs=1e-12)
    np.testing.assert_allclose(found.drawn[name], slow.drawn[name], atol=1e-12)


def fold_of(number, *test):
    nobody = np.array([], np.int64)
    return Fold(number, nobody, nobody, np.array(test, np.int64))


def test_clips_are_drawn_with_every_folds_share():
    folds = [fold_of(1, *range(10)), fold_of(2, *range(10, 40)), fold_of(3, *range(40, 60))]
    chosen = choose_clips(folds, 12, seed=0)
    assert [int(np.isin(fold.test, chosen).sum()) for fold in folds] == [2, 6, 4]
    assert len(set(chosen.tolist())) == 12
    np.testing.assert_array_equal(chosen, choose_clips(folds, 12, seed=0))
    assert choose_clips(folds, 12, seed=1).tolist() != chosen.tolist()
    assert choose_clips(folds, 1_000, seed=0).tolist() == list(range(60))
    assert len(choose_clips(folds, 7, seed=0)) == 7
    with pytest.raises(InputError, match="no test clips"):
        choose_clips([fold_of(1)], 5, seed=0)


def test_subsets_come_with_all_streams_first_and_none_that_hears_nothing():
    subsets = ordered_subsets(("a", "b", "c", "d"))
    assert (subsets[0], len(subsets), len(set(subsets))) == (("a", "b", "c", "d"), 15, 15)
    assert all(len(first) >= len(second) > 0 for first, second in pairwise(subsets))


def test_a_difference_is_paired_over_the_clips_that_have_both_copies():
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]]
    heard = np.stack([targets, targets, targets])[:, :, None]  # condition, clip, one subset, label
    heard[1, :2, 0] = heard[1, :2, 0, ::-1]  # two mistakes that the clean copies do not have
    heard[0, 0] = np.nan
    heard[2] = np.nan
    clean, damaged, unheard = make_scores("single_label", targets, ("clean", "loud", "gone"), [("a",)], heard, seed=0)
    assert (clean.n_clips, clean.score.value, clean.difference) == (4, 1.0, None)
    assert (damaged.n_clips, damaged.score.value, damaged.difference.value) == (4, 0.75, -0.25)
    assert damaged.difference.low < damaged.difference.value < damaged.difference.high == 0
    assert (unheard.n_clips, unheard.score, unheard.difference) == (0, None, None)


def copies_of(run):
    """The store's own features of every test clip, as if they were of copies, in an order of their own."""
    clips = np.random.default_rng(0).permutation(np.concatenate([fold.test for fold in run.corpus.folds]))
    readers = {stream: run.snapshot.stream(stream, spec.fingerprint) for stream, spec in run.models[0].specs.items()}
    return clips, readers, [run.corpus.examples[clip].clip_id for clip in clips.tolist()]


def test_copies_are_scored_by_the_fold_that_held_their_clip_out(store, result):
    run = open_finished(store, result.run_id)
    clips, readers, names = copies_of(run)
    subsets = ordered_subsets(tuple(run.models[0].specs))
    heard = score_copies(run, readers, clips, names, subsets, PLENTY)
    table = pq.read_table(store.files.path(run_key(result.run_id)) / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"labels"]) == list(result.labels)
    said = {row["clip_id"]: row["probabilities"] for row in table.to_pylist() if row["model"] == FUSION}
    np.testing.assert_allclose(heard[:, 0], [said[name] for name in names], atol=1e-4)
    assert difference_to_run(store, run, clips, heard[:, 0]) < 1e-4
    assert difference_to_run(store, run, clips, heard[:, 0] + 0.25) == pytest.approx(0.25, abs=1e-4)
    assert difference_to_run(store, run, clips, np.full_like(heard[:, 0], np.nan)) is None
    fold, model = run.corpus.folds[1], run.models[1]
    two = [subsets[5], subsets[-1]]
    direct = subset_probabilities(model, run.corpus.frames, fold.test, run.corpus.ticks, two)
    for i, clip in enumerate(fold.test.tolist()):
        for j, subset in enumerate(two):
            ours = heard[clips.tolist().index(clip), subsets.index(subset)]
            np.testing.assert_allclose(ours, direct[j, i], atol=1e-5)


def test_a_run_of_one_stream_is_scored_as_that_stream(tmp_path):
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)], n_a_label=6)
    text = '[data]\ndataset = "made"\nstreams = ["timbre"]\n[model]\ndim = 8\nlayers = 1\nheads = 1\n[fit]\nepochs = 1'
    train(store, parse_recipe(text, "one"), device="cpu", run_id="one")
    run = open_finished(store, "one", memory_bytes=2**21)
    assert run.corpus.loader.limit_bytes == 2**21
    clips, readers, names = copies_of(run)
    heard = score_copies(run, readers, clips, names, ordered_subsets(("timbre",)), PLENTY)
    assert heard.shape[1] == 1
    assert difference_to_run(store, run, clips, heard[:, 0]) < 1e-4


def test_a_measurement_can_be_read_again_and_a_damaged_one_says_what_to_do(tmp_path):
    assert read_robustness(tmp_path) is None
    found = robustness()
    (tmp_path / ROBUSTNESS).write_text(found.model_dump_json())
    assert read_robustness(tmp_path) == found
    (tmp_path / ROBUSTNESS).write_text('{"run_id": 1}')
    with pytest.raises(StoreError, match="`timbrel robustness` writes it anew"):
        read_robustness(tmp_path)
