"""Symmetric InfoNCE: the embeddings that two streams make of one clip find each other among those of other clips."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor], temperature: float) -> Tensor:
    """The mean over pairs of streams of the symmetric InfoNCE loss, in nats (van den Oord et al. 2018; Radford 2021).

    embeddings: (n, dim) a stream. present: (n,) bool, whether the stream heard the window; a window that either of a
    pair has not heard takes no part in it. 0 where no pair has two windows.
    """
    losses = []
    for one, other in combinations(embeddings, 2):
        both = present[one] & present[other]
        if int(both.sum()) < 2:
            continue
        alike = F.normalize(embeddings[one][both], dim=1) @ F.normalize(embeddings[other][both], dim=1).T / temperature
        own = torch.arange(len(alike), device=alike.device)
        losses.append((F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2)
    if not losses:
        return next(iter(embeddings.values())).new_zeros(())
    return torch.stack(losses).mean()
