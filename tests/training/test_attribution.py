"""Shapley values: the laws that define them, another route to the answer, and that they sum to a model's score."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storage_schema.errors import InputError
from storage_schema.layout import run_key
from training import attribution
from training.attribution import all_subsets, shapley, shapley_values
from training.corpus import load_corpus
from training.judge import FUSION, score_clips
from training.run import load_models

WORTHS = st.integers(1, 5).flatmap(lambda n: arrays(np.float64, (2**n, 2), elements=st.floats(0, 1, width=32)))


@given(WORTHS)
def test_values_sum_to_what_all_players_add_to_none(worth):
    np.testing.assert_allclose(shapley_values(worth).sum(axis=0), worth[-1] - worth[0], atol=1e-12)


@given(WORTHS)
def test_values_are_the_mean_over_all_orders_in_which_players_may_come(worth):
    n_players = len(worth).bit_length() - 1
    added = np.zeros((n_players, 2))
    orders = list(permutations(range(n_players)))
    for order in orders:
        place = 0
        for player in order:
            added[player] += worth[place | 1 << player] - worth[place]
            place |= 1 << player
    np.testing.assert_allclose(shapley_values(worth), added / len(orders), atol=1e-12)


@given(WORTHS)
def test_a_player_that_adds_nothing_has_no_value_and_leaves_the_others_theirs(worth):
    values = shapley_values(np.concatenate([worth, worth]))  # the new last player changes no coalition's worth
    np.testing.assert_allclose(values[-1], 0, atol=1e-12)
    np.testing.assert_allclose(values[:-1], shapley_values(worth), atol=1e-12)


@given(arrays(np.float64, 6, elements=st.floats(0, 1, width=32)))
def test_players_that_can_stand_for_one_another_have_the_same_value(figures):
    alike = {0: 0, 1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5}  # exchanging players 0 and 1 changes nothing
    values = shapley_values(figures[[alike[place] for place in range(8)]])
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_subsets_stand_where_their_bits_say():
    assert all_subsets(("a", "b", "c"))[0b101] == ("a", "c")
    assert len(set(all_subsets(("a", "b", "c")))) == 8
    with pytest.raises(InputError, match="at most 8 streams"):
        all_subsets(tuple("abcdefghi"))
    with pytest.raises(ValueError, match="no power of two"):
        shapley_values(np.zeros(3))


@pytest.fixture(scope="module")
def fold(store, recipe, result):
    models = load_models(store.files.path(run_key(result.run_id)))
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    sides = corpus.folds[0]
    return models[sides.number], corpus, sides.test


def test_parts_of_a_clip_sum_to_the_probability_of_the_fusion(fold):
    model, corpus, clips = fold
    found = shapley(model, corpus.frames, clips, corpus.ticks)
    assert found.streams == ("pitch", "timbre", "neural", "waveform")
    assert found.base.shape == (len(clips), 3)
    assert found.values.shape == (len(clips), 4, 3)
    scored = score_clips(model, corpus.frames, clips, corpus.ticks)[FUSION]
    np.testing.assert_allclose(found.probabilities, scored, atol=1e-6)


def test_streams_that_tell_the_labels_apart_carry_the_true_label_and_noise_carries_little(fold):
    model, corpus, clips = fold
    found = shapley(model, corpus.frames, clips, corpus.ticks)
    truth = corpus.targets[clips].argmax(axis=1)
    carried = dict(zip(found.streams, found.values[np.arange(len(clips)), :, truth].mean(axis=0), strict=True))
    told = carried["timbre"] + carried["neural"]
    assert told > 0.3
    assert told > 0.9 * sum(carried.values())
    assert max(carried["pitch"], carried["waveform"]) < 0.1


def test_blocks_of_clips_and_no_clips_give_the_same_values(fold, monkeypatch):
    model, corpus, clips = fold
    whole = shapley(model, corpus.frames, clips, corpus.ticks)
    monkeypatch.setattr(attribution, "BLOCK_VALUES", 16 * 3 * 5)  # five clips at a time
    in_blocks = shapley(model, corpus.frames, clips, corpus.ticks)
    np.testing.assert_allclose(in_blocks.values, whole.values, atol=1e-6)
    nothing = shapley(model, corpus.frames, clips[:0], corpus.ticks)
    assert nothing.values.shape == (0, 4, 3)
    assert nothing.probabilities.shape == (0, 3)


def test_one_stream_alone_carries_its_own_score_and_not_that_of_a_fusion(fold):
    model, corpus, clips = fold
    one = {name: {"timbre": getattr(model, name)["timbre"]} for name in ("specs", "encoders")}
    alone = replace(model, **one, baselines={})
    found = shapley(alone, corpus.frames, clips, corpus.ticks)
    scored = score_clips(alone, corpus.frames, clips, corpus.ticks)
    assert FUSION not in scored
    np.testing.assert_allclose(found.probabilities, scored["timbre"], atol=1e-6)
