"""Dropout whose random bits cost a quarter: on a CPU, drawing them is else the dearest part of a small Transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 256
"""One random byte decides over one activation, so that shares are kept to 1/256."""


class Dropout(nn.Module):
    """In training, sets a `share` of the activations to 0 and makes the others louder by as much.

    Srivastava et al., JMLR 2014. Every 64-bit draw of torch's generator serves eight activations, where
    `torch.nn.Dropout` draws once for each.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape; the same ones in evaluation."""
        if not self.training or self.share == 0:
            return values
        n_dropped = round(self.share * LEVELS)
        if values.device.type != "cpu" or not 0 < n_dropped < LEVELS:
            return F.dropout(values, self.share)
        n = values.numel()
        drawn = torch.empty(-(-n // 8), dtype=torch.int64).random_(-(2**63), None)
        is_kept = drawn.view(torch.uint8)[:n].view(values.shape) >= n_dropped
        return values * is_kept.to(values.dtype).mul_(LEVELS / (LEVELS - n_dropped))
