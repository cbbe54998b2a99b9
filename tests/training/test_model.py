import numpy as np
import pytest

from training.judge import score_clips
from training.model import clip_embeddings, subset_probabilities
from training.run import load_models


@pytest.fixture(scope="session")
def fold(store, recipe, result):
    from storage_schema.layout import run_key
    from training.corpus import load_corpus

    models = load_models(store.files.path(run_key(result.run_id)))
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    number, model = next(iter(models.items()))
    return model, corpus, next(fold for fold in corpus.folds if fold.number == number)


def test_all_streams_together_say_what_the_fusion_says_and_one_what_it_says_alone(fold):
    model, corpus, sides = fold
    streams = tuple(model.specs)
    subsets = [streams, ("timbre",), ()]
    whole, alone, nothing = subset_probabilities(model, corpus.frames, sides.test, corpus.ticks, subsets)
    scored = score_clips(model, corpus.frames, sides.test, corpus.ticks)
    assert np.allclose(whole, scored["fusion"], atol=1e-6)
    assert not np.allclose(whole, alone, atol=1e-2)
    assert np.array_equal(alone.argmax(axis=1), scored["timbre"].argmax(axis=1))
    assert np.ptp(nothing, axis=0).max() == 0


def test_clips_of_one_class_lie_closer_in_the_fused_embedding_than_those_of_others(fold):
    model, corpus, sides = fold
    found = clip_embeddings(model, corpus.frames, sides.test, corpus.ticks)
    truth = corpus.targets[sides.test].argmax(axis=1)
    distance = np.linalg.norm(found[:, None] - found[None], axis=-1)
    same = truth[:, None] == truth[None]
    assert distance[same].mean() < 0.7 * distance[~same].mean()
