"""From encoders to probabilities of clips; the one path that validation, evaluation and prediction share.

The rule: a clip's probability is the mean of its windows' probabilities, which are a softmax over the labels where a
clip has exactly one, and a sigmoid for each label where it may have several.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.encoders import StreamEncoder
from training.inputs import gather_inputs
from training.joint import Batch, JointModel
from training.recipe import Recipe, Task
from training.windows import TICK_RATE_HZ, StreamFrames, Tokens, Window, cut_tokens, windows_of

SCORING_BATCH = 128
"""Windows scored at a time; bounds the memory, and changes no figure beyond rounding."""

RULE = "a clip's score is the mean of its windows' probabilities"
SMALLEST_PROBABILITY = 1e-7
"""Below it a logarithm says nothing more about a float32."""


def scoring_windows(clips: NDArray[np.int64], ticks: NDArray[np.int64], recipe: Recipe) -> list[Window]:
    """All windows that `clips` are scored by, clip after clip."""
    length, hop = (round(s * TICK_RATE_HZ) for s in (recipe.window.length_s, recipe.window.hop_s))
    return [window for clip in clips.tolist() for window in windows_of(clip, int(ticks[clip]), length, hop)]


def batch_tensors(
    frames: StreamFrames, tokens: Tokens, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    """What an encoder takes: inputs (n, n_tokens, n_channels), mask and times_s (n, n_tokens), on `device`."""
    inputs = torch.from_numpy(gather_inputs(frames, tokens.rows))
    return inputs.to(device), torch.from_numpy(tokens.mask).to(device), torch.from_numpy(tokens.times_s).to(device)


def window_scores(encoder: StreamEncoder, frames: StreamFrames, windows: Sequence[Window]) -> Tensor:
    """The scores (n_windows, n_labels) of one stream before softmax or sigmoid, on the CPU.

    A clip that lacks the stream is given 0 for every label, which leaves what other streams say of it as it is.
    """
    scores = _over_windows(encoder, {"": frames}, windows, lambda batch: encoder(*batch[""]))
    is_heard = frames.lengths[[window.clip for window in windows]] > 0
    return scores * torch.from_numpy(is_heard)[:, None]


def window_embeddings(encoder: StreamEncoder, frames: StreamFrames, windows: Sequence[Window]) -> Tensor:
    """The embeddings (n_windows, dim) of one stream, on the CPU."""
    return _over_windows(encoder, {"": frames}, windows, lambda batch: encoder.embedding(*batch[""]))


def joint_scores(joint: JointModel, frames: Mapping[str, StreamFrames], windows: Sequence[Window]) -> Tensor:
    """The scores (n_windows, n_labels) of a joint model that hears the streams of `frames`, on the CPU."""
    return _over_windows(joint, frames, windows, lambda batch: joint(batch).scores)


def joint_embeddings(joint: JointModel, frames: Mapping[str, StreamFrames], windows: Sequence[Window]) -> Tensor:
    """The fused embeddings (n_windows, dim) of a joint model that hears the streams of `frames`, on the CPU."""
    return _over_windows(joint, frames, windows, lambda batch: joint(batch).embedding)


def _over_windows(
    network: nn.Module,
    frames: Mapping[str, StreamFrames],
    windows: Sequence[Window],
    ask: Callable[[Batch], Tensor],
) -> Tensor:
    network.eval()
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(windows), SCORING_BATCH):
            some = windows[start : start + SCORING_BATCH]
            batch = {stream: batch_tensors(held, cut_tokens(held, some), device) for stream, held in frames.items()}
            parts.append(ask(batch).cpu())
    return torch.cat(parts).clone()  # (n_windows, ...), an ordinary tensor again


def owners(windows: Sequence[Window]) -> Tensor:
    """(n_windows,) int64: the position, among the clips in order of appearance, of each window's clip."""
    clips = np.array([window.clip for window in windows], np.int64)
    return torch.from_numpy(np.concatenate([[0], np.cumsum(clips[1:] != clips[:-1])]).astype(np.int64))


def clip_probabilities(scores: Tensor, owner: Tensor, task: Task) -> Tensor:
    """(n_clips, n_labels) in [0, 1], differentiable: `RULE` applied to the windows' scores."""
    windows = torch.softmax(scores, dim=-1) if task == "single_label" else torch.sigmoid(scores)
    return clip_means(windows, owner)


def clip_means(values: Tensor, owner: Tensor) -> Tensor:
    """(n_clips, n): the mean over each clip's windows of (n_windows, n), differentiable."""
    n_clips = int(owner[-1]) + 1
    total = torch.zeros(n_clips, values.shape[1], dtype=values.dtype).index_add(0, owner, values)
    return total / torch.bincount(owner, minlength=n_clips)[:, None]


def clip_loss(probabilities: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The mean cross-entropy of clips, in nats: over labels for single_label, the mean of labels for multi_label."""
    kept = probabilities.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if task == "single_label":
        return -(targets * kept.log()).sum(dim=-1).mean()
    return -(targets * kept.log() + (1 - targets) * (1 - kept).log()).mean()


def as_array(probabilities: Tensor) -> NDArray[np.float32]:
    """The probabilities as NumPy holds them."""
    return probabilities.numpy().astype(np.float32)
