"""The linear probe inside the encoder of pretrained embeddings: logistic regression on what the encoder pools.

Of representations that were learned from millions of sounds, a linear map with its one optimum is hard to beat by a
network that has seen some hundred (docs/decisions/0008).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from training.baselines import logistic_regression
from training.corpus import Corpus
from training.encoders import StreamEncoder
from training.objectives import EncoderObjective, JointObjective
from training.recipe import Recipe
from training.scoring import SCORING_BATCH, batch_tensors
from training.windows import TICK_RATE_HZ, cut_tokens, random_windows


def fit_probes(
    objective: EncoderObjective | JointObjective, corpus: Corpus, train: NDArray[np.int64], recipe: Recipe
) -> None:
    """Fit the probe of every encoder that has one, on one random window of each clip of `train`.

    The encoders are normalised already. A joint network has no probes.
    """
    if isinstance(objective, JointObjective):
        return
    for stream, encoder in objective.encoders.items():
        if encoder.probe is not None:
            _fit_probe(encoder, stream, corpus, train, recipe)


def _fit_probe(encoder: StreamEncoder, stream: str, corpus: Corpus, train: NDArray[np.int64], recipe: Recipe) -> None:
    length, generator = round(recipe.window.length_s * TICK_RATE_HZ), np.random.default_rng(recipe.fit.seed)
    pooled, targets = [], []
    with torch.inference_mode():
        for chunk in corpus.loader.read([stream], corpus.loader.plan([stream], train)):
            windows = random_windows(chunk.clips, corpus.ticks[chunk.clips], length, generator)
            for start in range(0, len(windows), SCORING_BATCH):
                some = windows[start : start + SCORING_BATCH]
                inputs, mask, _ = batch_tensors(chunk.frames[stream], cut_tokens(chunk.frames[stream], some))
                pooled.append(encoder.pooled(inputs, mask).numpy())
            targets.append(corpus.targets[chunk.clips])
    linear = logistic_regression([stream], np.concatenate(pooled), np.concatenate(targets), corpus.task)
    assert encoder.probe is not None, "the caller has asked"
    weight = linear.weight / linear.std[:, None]  # (2 * n_channels, n_labels), standardisation folded in
    with torch.no_grad():
        encoder.probe.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
        encoder.probe.bias.copy_(torch.from_numpy(linear.bias - linear.mean @ weight))
