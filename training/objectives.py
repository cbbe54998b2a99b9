"""What is made small in a fit: the windows' cross-entropy, and where asked for the contrastive loss between streams."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.contrastive import info_nce
from training.encoders import StreamEncoder, Tokenizer
from training.joint import Batch, JointModel, drop_streams
from training.recipe import Recipe, Task
from training.scoring import joint_scores, window_scores
from training.windows import StreamFrames, Window

JOINT = "fusion"
"""The name of a joint model's learning curve, and of its row in a table."""


class EncoderObjective(nn.Module):
    """Each stream's encoder under its own loss."""

    def __init__(self, encoders: Mapping[str, StreamEncoder], task: Task, recipe: Recipe) -> None:
        super().__init__()
        self.modules_by_stream = nn.ModuleDict(encoders)
        self.task, self.recipe = task, recipe

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.modules_by_stream)

    @property
    def encoders(self) -> dict[str, StreamEncoder]:
        return {stream: cast(StreamEncoder, encoder) for stream, encoder in self.modules_by_stream.items()}

    def tokenizer(self, stream: str) -> Tokenizer:
        return self.encoders[stream].tokenize

    def forward(self, batch: Batch, targets: Tensor) -> Tensor:
        """The loss of n windows in nats; targets: (n, n_labels)."""
        embeddings, losses = {}, []
        for stream, encoder in self.encoders.items():
            embeddings[stream] = encoder.embedding(*batch[stream])
            # Neither smoothing nor mixup helps a linear path; a stream of raw frames gains from both.
            smoothing = 0.0 if encoder.shape.is_embedding else self.recipe.fit.label_smoothing
            losses.append(window_loss(encoder.score(embeddings[stream]), targets, self.task, smoothing))
        total = torch.stack(losses).sum()
        if self.recipe.fusion.contrastive > 0 and len(embeddings) > 1:
            present = {stream: batch[stream][1].any(dim=1) for stream in embeddings}
            aligned = info_nce(embeddings, present, self.recipe.fusion.temperature)
            total = total + self.recipe.fusion.contrastive * aligned
        return total

    def window_scores(self, frames: Mapping[str, StreamFrames], windows: Sequence[Window]) -> dict[str, Tensor]:
        """Each stream's scores of `windows`, (n_windows, n_labels), by its name."""
        return {stream: window_scores(encoder, frames[stream], windows) for stream, encoder in self.encoders.items()}


class JointObjective(nn.Module):
    """All streams in one network; in training some are masked, so that a missing one is no surprise."""

    names = (JOINT,)

    def __init__(self, joint: JointModel, task: Task, recipe: Recipe) -> None:
        super().__init__()
        self.joint, self.task, self.recipe = joint, task, recipe

    def tokenizer(self, stream: str) -> Tokenizer:
        return self.joint.encoder(stream).tokenize

    def forward(self, batch: Batch, targets: Tensor) -> Tensor:
        """The loss of n windows in nats; targets: (n, n_labels)."""
        settings = self.recipe.fusion
        heard = self.joint(drop_streams(batch, settings.stream_dropout) if self.training else batch)
        loss = window_loss(heard.scores, targets, self.task, self.recipe.fit.label_smoothing)
        if settings.contrastive > 0 and len(heard.streams) > 1:
            loss = loss + settings.contrastive * info_nce(heard.streams, heard.present, settings.temperature)
        return loss

    def window_scores(self, frames: Mapping[str, StreamFrames], windows: Sequence[Window]) -> dict[str, Tensor]:
        """The scores of `windows`, (n_windows, n_labels)."""
        return {JOINT: joint_scores(self.joint, frames, windows)}


def window_loss(scores: Tensor, targets: Tensor, task: Task, smoothing: float) -> Tensor:
    """The mean cross-entropy of windows in nats, targets smoothed towards the uniform (single) or 1/2 (multi)."""
    if task == "single_label":
        return F.cross_entropy(scores, targets, label_smoothing=smoothing)
    return F.binary_cross_entropy_with_logits(scores, targets * (1 - smoothing) + smoothing / 2)
