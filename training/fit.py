"""Fitting one stream's encoder: a loop read from top to bottom.

An epoch shows one random window of every training clip. The learning rate rises and falls as one cosine over the
epochs of the recipe, and the encoder at its end is the one that is kept: stopping earlier, where validation was best,
means stopping while the rate is high, and lost on both datasets it was tried on (docs/decisions/0004). Validation is
watched, not obeyed. The same arguments give the same encoder on one machine.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from storage_schema.errors import InputError
from training.corpus import Corpus
from training.encoders import StreamEncoder
from training.inputs import encoder_shape, fit_normalisation
from training.metrics import headline_score
from training.recipe import Recipe, Task
from training.results import EpochPoint
from training.scoring import (
    as_array,
    batch_tensors,
    clip_loss,
    clip_probabilities,
    owners,
    scoring_windows,
    window_scores,
)
from training.windows import TICK_RATE_HZ, StreamFrames, Window, cut_tokens, random_windows

GRADIENT_NORM = 1.0
WARM_UP_SHARE = 0.1
"""The share of the schedule in which the learning rate rises."""

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class FittedEncoder:
    """An encoder in eval mode on the CPU, and its learning curve on the validation clips, empty without any."""

    encoder: StreamEncoder
    curve: tuple[EpochPoint, ...]


def make_fabric(device: str) -> Fabric:
    """The device to fit on. Raises InputError for an unknown one, and for "cuda" where there is none."""
    if device not in DEVICES:
        raise InputError(f"there is no device {device!r}; choose from {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError('device "cuda" was asked for, but torch sees no GPU; use "cpu" or "auto"')
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    return Fabric(accelerator=device, devices=1)


def fit_encoder(
    frames: StreamFrames,
    corpus: Corpus,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    recipe: Recipe,
    fabric: Fabric,
    *,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> FittedEncoder:
    """Fit the encoder of one stream on the clips `train`; what it says of the clips `validation` becomes the curve.

    Raises InputError where the loss diverges.
    """
    settings = recipe.fit
    generator = np.random.default_rng(settings.seed)
    windows = scoring_windows(validation, corpus.ticks, recipe)
    targets = torch.from_numpy(corpus.targets)
    curve: list[EpochPoint] = []
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        encoder = StreamEncoder(
            encoder_shape(frames.spec, len(corpus.labels), recipe),
            dropout=recipe.model.dropout,
            token_mask=settings.token_mask,
        )
        encoder.set_normalisation(fit_normalisation(frames, frames.rows(train)))
        optimizer = torch.optim.AdamW(
            encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        model, optimizer = fabric.setup(encoder, optimizer)
        n_steps = math.ceil(len(train) / settings.batch_size)
        for epoch in range(settings.epochs):
            model.train()
            losses = []
            order = generator.permutation(train)
            shown = random_windows(order, corpus.ticks[order], round(recipe.window.length_s * TICK_RATE_HZ), generator)
            for step in range(n_steps):
                span = slice(step * settings.batch_size, (step + 1) * settings.batch_size)
                inputs, mask, times_s = batch_tensors(frames, cut_tokens(frames, shown[span]), fabric.device)
                wanted = targets[order[span]].to(fabric.device)
                if settings.mixup > 0:
                    inputs, mask, wanted = mix(inputs, mask, wanted, settings.mixup, generator)
                loss = window_loss(model(inputs, mask, times_s), wanted, corpus.task, settings.label_smoothing)
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * rate_at((epoch + step / n_steps) / settings.epochs)
                optimizer.zero_grad()
                fabric.backward(loss)
                fabric.clip_gradients(model, optimizer, max_norm=GRADIENT_NORM, error_if_nonfinite=False)
                optimizer.step()
                losses.append(loss.item())
            train_loss = float(np.mean(losses))
            if not math.isfinite(train_loss):
                raise InputError(
                    f"the loss of stream {frames.spec.stream} became {train_loss} in epoch {epoch + 1}; lower the "
                    f"recipe's [fit] learning_rate, which is {settings.learning_rate}"
                )
            if windows:
                curve.append(_validate(encoder, frames, windows, corpus, validation, epoch + 1, train_loss))
            on_epoch(epoch + 1, settings.epochs)
    return FittedEncoder(encoder.cpu().eval(), tuple(curve))


def window_loss(scores: Tensor, targets: Tensor, task: Task, smoothing: float) -> Tensor:
    """The mean cross-entropy of windows in nats, targets smoothed towards the uniform (single) or 1/2 (multi)."""
    if task == "single_label":
        return F.cross_entropy(scores, targets, label_smoothing=smoothing)
    return F.binary_cross_entropy_with_logits(scores, targets * (1 - smoothing) + smoothing / 2)


def mix(
    inputs: Tensor, mask: Tensor, targets: Tensor, alpha: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each window of a batch with another by one share drawn from Beta(alpha, alpha) (Zhang et al., ICLR 2018)."""
    share = float(generator.beta(alpha, alpha))
    share = max(share, 1 - share)
    other = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
    mixed = share * inputs + (1 - share) * inputs[other]
    return mixed, mask | mask[other], share * targets + (1 - share) * targets[other]


def rate_at(progress: float) -> float:
    """The share of the full learning rate at `progress` in [0, 1]: a linear rise, then half a cosine down to 0."""
    if progress < WARM_UP_SHARE:
        return 0.05 + 0.95 * progress / WARM_UP_SHARE
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP_SHARE) / (1 - WARM_UP_SHARE)))


def _validate(
    encoder: StreamEncoder,
    frames: StreamFrames,
    windows: Sequence[Window],
    corpus: Corpus,
    validation: NDArray[np.int64],
    epoch: int,
    train_loss: float,
) -> EpochPoint:
    wanted = corpus.targets[validation]
    probabilities = clip_probabilities(window_scores(encoder, frames, windows), owners(windows), corpus.task)
    loss = float(clip_loss(probabilities, torch.from_numpy(wanted), corpus.task))
    score = headline_score(corpus.task, wanted, as_array(probabilities))
    return EpochPoint(epoch=epoch, train_loss=train_loss, validation_loss=loss, validation_score=score)
