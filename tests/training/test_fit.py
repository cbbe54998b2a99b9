import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError
from storage_schema.store import Store
from training.corpus import Corpus, load_corpus
from training.fit import fit_encoders, make_fabric, mix, rate_at
from training.objectives import window_loss
from training.recipe import Recipe


def with_fit(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"fit": recipe.fit.model_copy(update=changes)})


def fit_timbre(corpus: Corpus, train: NDArray[np.int64], validation: NDArray[np.int64], recipe: Recipe):
    return fit_encoders(["timbre"], corpus, train, validation, recipe, make_fabric("cpu"))["timbre"]


def test_an_encoder_learns_what_its_stream_says(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold = corpus.folds[0]
    fitted = fit_timbre(corpus, fold.train, fold.validation, recipe)
    assert fitted.curve[-1].train_loss < fitted.curve[0].train_loss
    assert max(point.validation_score for point in fitted.curve) > 0.8
    assert [point.epoch for point in fitted.curve] == list(range(1, recipe.fit.epochs + 1))
    assert not fitted.network.training


def test_validation_is_watched_and_not_obeyed(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold = corpus.folds[0]
    watched = fit_timbre(corpus, fold.train, fold.validation, recipe)
    alone = fit_timbre(corpus, fold.train, fold.validation[:0], recipe)
    assert alone.curve == ()
    for name, value in watched.network.state_dict().items():
        torch.testing.assert_close(alone.network.state_dict()[name], value, rtol=0, atol=0)


def test_the_normalisation_is_that_of_the_training_clips(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold, frames = corpus.folds[0], corpus.frames["timbre"]
    fitted = fit_timbre(corpus, fold.train, fold.validation, with_fit(recipe, epochs=1))
    heard = frames.arrays["descriptors"][frames.rows(fold.train)]
    np.testing.assert_allclose(fitted.network.tokenize.mean.numpy(), heard.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(fitted.network.tokenize.std.numpy(), heard.std(axis=0), atol=1e-4)


def test_a_loss_that_diverges_is_a_sentence_about_the_learning_rate(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold = corpus.folds[0]
    hopeless = replace(corpus, targets=corpus.targets * np.nan)
    with pytest.raises(InputError, match="the loss of stream timbre became nan in epoch 1; lower the recipe's"):
        fit_timbre(hopeless, fold.train, fold.validation, recipe)


def test_features_that_are_no_numbers_are_damage_to_the_store(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold, frames = corpus.folds[0], corpus.frames["timbre"]
    frames.arrays["descriptors"][frames.starts[fold.train[0]]] = np.inf
    with pytest.raises(StoreError, match="stream timbre has NaN or infinity among its stored features"):
        fit_timbre(corpus, fold.train, fold.validation, recipe)


def test_the_callers_random_numbers_are_left_alone(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold = corpus.folds[0]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_encoders(
        ["neural"],
        corpus,
        fold.train,
        fold.validation,
        with_fit(recipe, epochs=1),
        make_fabric("cpu"),
    )
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="choose from auto, cpu, cuda"):
        make_fabric("tpu")


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate_at(progress) for progress in np.linspace(0, 1, 101)]
    assert rates[10] == max(rates) == 1
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_the_window_loss_of_even_scores_is_the_logarithm_of_the_choices() -> None:
    targets = torch.eye(4)
    assert float(window_loss(torch.zeros(4, 4), targets, "single_label", 0.1)) == pytest.approx(math.log(4))
    assert float(window_loss(torch.zeros(4, 4), targets, "multi_label", 0.1)) == pytest.approx(math.log(2))


def test_mixing_keeps_each_window_the_larger_part_of_itself() -> None:
    inputs, mask = torch.arange(3.0)[:, None, None].expand(3, 2, 1), torch.tensor([[True, False]] * 3)
    batch = {"one": (inputs, mask, torch.zeros(3, 2)), "other": (10 * inputs, mask, torch.zeros(3, 2))}
    mixed, targets = mix(batch, torch.eye(3), 0.4, np.random.default_rng(0))
    values, new_mask, _ = mixed["one"]
    assert values.shape == inputs.shape
    assert torch.equal(new_mask, mask)
    assert (targets.diagonal() >= 0.5).all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(values[:, 0, 0], targets @ torch.arange(3.0))
    torch.testing.assert_close(mixed["other"][0], 10 * values)


def test_embeddings_are_shown_as_they_are_and_frames_are_mixed(store: Store, recipe: Recipe, monkeypatch) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold, mixed = corpus.folds[0], []
    monkeypatch.setattr("training.fit.mix", lambda batch, *rest: (mixed.append(tuple(batch)), mix(batch, *rest))[1])
    for stream in ("neural", "timbre"):
        fit_encoders(
            [stream], corpus, fold.train, fold.validation, with_fit(recipe, epochs=1, mixup=0.3), make_fabric("cpu")
        )
    assert set(mixed) == {("timbre",)}
