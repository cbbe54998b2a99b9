"""The linear probe beside the encoder of pretrained embeddings."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from storage_schema.store import Store
from training.baselines import pool_clips
from training.corpus import load_corpus
from training.fit import fit_encoders, make_fabric
from training.inputs import encoder_shape
from training.joint import make_joint
from training.recipe import Recipe, with_kind
from training.scoring import batch_tensors, scoring_windows
from training.windows import cut_tokens


def test_the_encoder_answers_with_the_mean_of_its_own_scores_and_a_logistic_regressions(
    store: Store, recipe: Recipe
) -> None:
    """On windows of whole clips the probe is scikit-learn's regression on features pooled over the clip."""
    whole = recipe.model_copy(update={"window": recipe.window.model_copy(update={"length_s": 1.0, "hop_s": 1.0})})
    corpus = load_corpus(store.snapshot(), whole, fingerprints={})
    fold, frames = corpus.folds[0], corpus.loader.hold(["neural"])["neural"]
    encoder = fit_encoders(["neural"], corpus, fold.train, fold.validation[:0], whole, make_fabric("cpu"))[
        "neural"
    ].network
    windows = scoring_windows(fold.test, corpus.ticks, whole)
    inputs, mask, times_s = batch_tensors(frames, cut_tokens(frames, windows))
    with torch.inference_mode():
        both = encoder(inputs, mask, times_s)
        own = encoder.score(encoder.embedding(inputs, mask, times_s))
    pooled = pool_clips(frames, fold.train.tolist())
    mean, std = pooled.mean(axis=0), pooled.std(axis=0)
    std = np.where(std < 1e-6, 1, std)
    regression = LogisticRegression(max_iter=2_000, tol=1e-8)
    regression.fit((pooled - mean) / std, corpus.targets[fold.train].argmax(axis=1))
    probed = (2 * both - own).softmax(dim=1).numpy()
    expected = regression.predict_proba((pool_clips(frames, fold.test.tolist()) - mean) / std)
    # Two solvers of one convex problem; a clip of one or two blocks has a deviation of almost 0, pooled in two ways.
    np.testing.assert_allclose(probed, expected, atol=0.02)
    assert float((own - both).abs().max()) > 0.01


def test_streams_of_frames_and_joint_networks_have_none(store: Store, recipe: Recipe) -> None:
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    shapes = {stream: encoder_shape(spec, len(corpus.labels), recipe) for stream, spec in corpus.specs.items()}
    joint = make_joint(with_kind(recipe, "both"), shapes)
    assert not [name for name in joint.state_dict() if "probe" in name]
    fitted = fit_encoders(
        ["timbre"], corpus, corpus.folds[0].train[:8], corpus.folds[0].validation[:0], recipe, make_fabric("cpu")
    )
    assert fitted["timbre"].network.probe is None
