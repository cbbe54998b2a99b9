"""Several streams in one network, fitted under one loss.

    feature          tokens of all streams -> one Transformer -> pooled -> scores
    representation   each stream's own encoder -> gated sum of the embeddings -> scores
    both             the gated sum has one summand more: what the Transformer over all tokens makes of them

A stream that a window lacks is masked: its tokens are not attended to, its gate is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.dropout import Dropout
from training.encoders import StreamEncoder, Summary, pool
from training.inputs import EncoderShape
from training.recipe import Recipe

Batch = Mapping[str, tuple[Tensor, Tensor, Tensor]]
"""By stream: inputs (n, n_tokens, n_channels), mask and times_s (n, n_tokens), as an encoder takes them."""


@dataclass(frozen=True)
class Heard:
    """What a joint model makes of n windows.

    scores: (n, n_labels) before softmax or sigmoid. embedding: (n, dim) fused. streams: (n, dim) a stream, before they
    are fused. present: (n,) bool a stream.
    """

    scores: Tensor
    embedding: Tensor
    streams: Mapping[str, Tensor]
    present: Mapping[str, Tensor]


class JointModel(nn.Module):
    """The network of one of the joint kinds. Streams left out of a batch are taken as missing."""

    def __init__(self, kind: str, shapes: Mapping[str, EncoderShape], *, dropout: float, token_mask: float) -> None:
        super().__init__()
        self.kind = kind
        self.names = tuple(shapes)
        first = next(iter(shapes.values()))
        self.encoders = nn.ModuleDict(
            {stream: StreamEncoder(shape, dropout=dropout, token_mask=token_mask) for stream, shape in shapes.items()}
        )
        for encoder in self.encoders.values():
            del encoder.classify, encoder.probe  # scores are given by all streams together
            if kind == "feature":
                del encoder.summarize, encoder.linear_path, encoder.embedding_norm
        if kind in ("feature", "both"):
            self.stream_token = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(first.dim)) for name in shapes})
            self.together = Summary(first, dropout=dropout)
            self.together_norm = nn.LayerNorm(first.dim)
        if kind in ("representation", "both"):
            self.gate = nn.Linear(first.dim, 1)
            self.stream_gate = nn.Parameter(torch.zeros(len(shapes) + (kind == "both")))
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(first.dim, first.n_labels)

    def forward(self, batch: Batch) -> Heard:
        """What the model makes of n windows. Raises ValueError for an empty batch of streams."""
        known = {name: batch[name] for name in self.names if name in batch}
        if not known:
            raise ValueError("a joint model was asked without any stream")
        present = {name: mask.any(dim=1) for name, (_, mask, _) in known.items()}
        streams: dict[str, Tensor] = {}
        summands: list[tuple[int, Tensor, Tensor]] = []  # place of its gate, (n, dim), (n,) present
        if self.kind in ("feature", "both"):
            whole, own = self._together(known)
            anything = torch.stack(list(present.values())).any(dim=0)
            streams |= own
            summands.append((len(self.names), whole, anything))
        if self.kind in ("representation", "both"):
            for name, (inputs, mask, times_s) in known.items():
                streams[name] = self.encoder(name).embedding(inputs, mask, times_s)
                summands.append((self.names.index(name), streams[name], present[name]))
        fused = summands[0][1] if self.kind == "feature" else self._gated_sum(summands)
        return Heard(self.classify(self.dropout(fused)), fused, streams, present)

    def _together(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the Transformer over all tokens makes of them, and its view of each stream, all (n, dim)."""
        tokens, masks, lengths = [], [], []
        for name, (inputs, mask, times_s) in batch.items():
            own, own_mask, _ = self.encoder(name).tokenize(inputs, mask, times_s)
            tokens.append(own + self.stream_token[name])
            masks.append(own_mask)
            lengths.append(own.shape[1])
        heard_mask = torch.cat(masks, dim=1)
        heard = self.together.transform(torch.cat(tokens, dim=1), heard_mask)
        whole = self.together_norm(self.together.embed(pool(heard, heard_mask)))
        parts = zip(batch, torch.split(heard, lengths, dim=1), masks, strict=True)
        return whole, {name: self.together_norm(self.together.embed(pool(own, mask))) for name, own, mask in parts}

    def encoder(self, stream: str) -> StreamEncoder:
        """What is kept of a stream's encoder: of the kind "feature" only how its tokens are made."""
        found = self.encoders[stream]
        assert isinstance(found, StreamEncoder), "no other kind is kept there"
        return found

    def _gated_sum(self, summands: list[tuple[int, Tensor, Tensor]]) -> Tensor:
        """The sum of the embeddings (n, dim), each by its gate; the gates of what is present sum to 1."""
        loud = torch.stack([self.gate(values)[:, 0] + self.stream_gate[place] for place, values, _ in summands], dim=1)
        present = torch.stack([there for _, _, there in summands], dim=1)
        gates = torch.softmax(loud.masked_fill(~present, -1e4), dim=1) * present  # (n, n_summands)
        return (gates[..., None] * torch.stack([values for _, values, _ in summands], dim=1)).sum(dim=1)


def make_joint(recipe: Recipe, shapes: Mapping[str, EncoderShape]) -> JointModel:
    """The network that the recipe's [fusion] asks for, not yet fitted."""
    settings = recipe.fusion
    return JointModel(settings.kind, shapes, dropout=recipe.model.dropout, token_mask=recipe.fit.token_mask)


def drop_streams(batch: Batch, share: float) -> Batch:
    """The batch with each stream masked in `share` of the windows; a window that would lose all keeps them all."""
    first = next(iter(batch.values()))[1]
    dropped = {name: torch.rand(len(first), device=first.device) < share for name in batch}
    all_gone = torch.stack([dropped[name] | ~mask.any(dim=1) for name, (_, mask, _) in batch.items()]).all(dim=0)
    return {
        name: (inputs, mask & ~(dropped[name] & ~all_gone)[:, None], times_s)
        for name, (inputs, mask, times_s) in batch.items()
    }
