"""Patchout: in training a model is shown a random share of each window's tokens, which regularises it and saves time.

Koutini et al., Efficient Training of Audio Transformers with Patchout, Interspeech 2022. What is left out is never made
into floats, so that an epoch costs in proportion to what is shown. Validation and tests always hear everything.
"""

import math

import numpy as np

from training.windows import Tokens


def patchout(tokens: Tokens, size: int, share: float, generator: np.random.Generator) -> Tokens:
    """The tokens without a random `share` of the groups of `size` neighbours that become one token each.

    Every window loses others, and keeps its tokens in order of time. Groups that hold nothing go first, so that a
    window that is mostly padding loses little; one group at least is kept.
    """
    n, n_tokens = tokens.rows.shape
    n_groups = math.ceil(n_tokens / size)
    n_kept = max(1, round((1 - share) * n_groups))
    if n_kept == n_groups:
        return tokens
    missing = n_groups * size - n_tokens
    present = np.pad(tokens.mask, ((0, 0), (0, missing))).reshape(n, n_groups, size).any(axis=2)
    lot = generator.random((n, n_groups)) + ~present
    kept = np.sort(np.argpartition(lot, n_kept - 1, axis=1)[:, :n_kept], axis=1)
    place = (kept[:, :, None] * size + np.arange(size)).reshape(n, -1)  # (n, n_kept * size)
    is_there = place < n_tokens
    place = np.minimum(place, n_tokens - 1)
    window = np.arange(n)[:, None]
    return Tokens(tokens.rows[window, place], tokens.mask[window, place] & is_there, tokens.times_s[window, place])
