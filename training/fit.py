"""Fitting an encoder, or a network of several streams: one loop, read from top to bottom.

An epoch shows one random window of every training clip. The learning rate rises and falls as one cosine over the
epochs of the recipe, and the network at its end is the one that is kept: stopping earlier, where validation was best,
means stopping while the rate is high, and lost on both datasets it was tried on (docs/decisions/0004). Validation is
watched, not obeyed. The same arguments give the same network on one machine.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from storage_schema.errors import InputError
from storage_schema.heap import keep_freed_memory
from training.corpus import Corpus
from training.encoders import StreamEncoder
from training.fit_state import EpochKeeper, put_state, take_state
from training.inputs import encoder_shape, fit_normalisation, frames_a_token, is_embedding
from training.joint import Batch, JointModel, make_joint
from training.loader import Chunk
from training.metrics import headline_score
from training.objectives import JOINT, EncoderObjective, JointObjective
from training.patchout import patchout
from training.probe import fit_probes
from training.recipe import Recipe
from training.results import EpochPoint
from training.scoring import as_array, batch_tensors, clip_loss, clip_probabilities, owners, scoring_windows
from training.windows import TICK_RATE_HZ, Window, cut_tokens, random_windows

GRADIENT_NORM = 1.0
WARM_UP_SHARE = 0.1
"""The share of the schedule in which the learning rate rises."""

LINEAR_PATH_DECAY = 1.0
"""Weight decay of the linear path from pooled embeddings, which else learns the training clips by heart."""

DEVICES = ("auto", "cpu", "cuda")


Network = TypeVar("Network", bound=nn.Module)
AnyObjective = TypeVar("AnyObjective", EncoderObjective, JointObjective)
OnEpoch = Callable[[int, int], None]


@dataclass(frozen=True)
class Fitted(Generic[Network]):
    """A network in eval mode on the CPU, and its learning curve on the validation clips, empty without any."""

    network: Network
    curve: tuple[EpochPoint, ...]


def make_fabric(device: str, n_threads: int | None = None) -> Fabric:
    """The device to fit on, and how many threads of this process work for it: all cores, if not said otherwise.

    Raises InputError for an unknown device, and for "cuda" where there is none.
    """
    if device not in DEVICES:
        raise InputError(f"there is no device {device!r}; choose from {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError('device "cuda" was asked for, but torch sees no GPU; use "cpu" or "auto"')
    keep_freed_memory()
    if n_threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(n_threads or len(os.sched_getaffinity(0)))
    return Fabric(accelerator=device, devices=1)


def fit_encoders(
    streams: Sequence[str],
    corpus: Corpus,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    recipe: Recipe,
    fabric: Fabric,
    *,
    keeper: EpochKeeper | None = None,
    on_epoch: OnEpoch = lambda done, total: None,
) -> dict[str, Fitted[StreamEncoder]]:
    """Fit an encoder for each of `streams` on the clips `train`, each under its own loss.

    With several streams they are fitted at the same time, which makes a difference only where the recipe's
    `contrastive` draws their embeddings together. What they say of the clips `validation` becomes their curves.
    keeper: where the state of an epoch is kept, from which the fit goes on if it was interrupted. Raises InputError
    where the loss diverges.
    """

    def build() -> EncoderObjective:
        encoders = {
            stream: StreamEncoder(
                encoder_shape(corpus.specs[stream], len(corpus.labels), recipe),
                dropout=recipe.model.dropout,
                token_mask=recipe.fit.token_mask,
            )
            for stream in streams
        }
        return EncoderObjective(encoders, corpus.task, recipe)

    objective, curves = _fit(build, streams, corpus, train, validation, recipe, fabric, keeper, on_epoch)
    return {stream: Fitted(objective.encoders[stream], curves[stream]) for stream in streams}


def fit_joint(
    streams: Sequence[str],
    corpus: Corpus,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    recipe: Recipe,
    fabric: Fabric,
    *,
    keeper: EpochKeeper | None = None,
    on_epoch: OnEpoch = lambda done, total: None,
) -> Fitted[JointModel]:
    """Fit the joint network that the recipe's [fusion] asks for; otherwise as `fit_encoders`."""

    def build() -> JointObjective:
        shapes = {stream: encoder_shape(corpus.specs[stream], len(corpus.labels), recipe) for stream in streams}
        return JointObjective(make_joint(recipe, shapes), corpus.task, recipe)

    objective, curves = _fit(build, streams, corpus, train, validation, recipe, fabric, keeper, on_epoch)
    return Fitted(objective.joint, curves[JOINT])


def _fit(
    build: Callable[[], AnyObjective],
    streams: Sequence[str],
    corpus: Corpus,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    recipe: Recipe,
    fabric: Fabric,
    keeper: EpochKeeper | None,
    on_epoch: OnEpoch,
) -> tuple[AnyObjective, dict[str, tuple[EpochPoint, ...]]]:
    """Fit what `build` makes, on any number of streams; returned on the CPU in eval mode, with its curves."""
    settings = recipe.fit
    train = _that_have(streams, corpus, train)
    generator = np.random.default_rng(settings.seed)
    loader, length = corpus.loader, round(recipe.window.length_s * TICK_RATE_HZ)
    targets = torch.from_numpy(corpus.targets)
    is_mixed = settings.mixup > 0 and not all(is_embedding(corpus.specs[stream]) for stream in streams)
    curves: dict[str, list[EpochPoint]] = defaultdict(list)

    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        objective = build()
        for stream in streams:
            heard = loader.read([stream], loader.plan([stream], train))
            statistics = fit_normalisation((chunk.frames[stream], chunk.clips) for chunk in heard)
            objective.tokenizer(stream).set_normalisation(statistics)
        fit_probes(objective, corpus, train, recipe)
        optimizer = torch.optim.AdamW(_groups(objective, settings.weight_decay), lr=settings.learning_rate, fused=True)
        model, optimizer = fabric.setup(objective, optimizer)
        state = keeper.load() if keeper else None
        if state:
            curves |= put_state(state, objective, optimizer, generator)
        for epoch in range(state.n_epochs if state else 0, settings.epochs):
            model.train()
            losses: list[float] = []
            plan = loader.shuffled(streams, train, generator)
            n_steps = sum(math.ceil(len(clips) / settings.batch_size) for clips in plan)
            for chunk in loader.read(streams, plan):
                shown = random_windows(chunk.clips, corpus.ticks[chunk.clips], length, generator)
                for start in range(0, len(shown), settings.batch_size):
                    span = slice(start, start + settings.batch_size)
                    with loader.clock.during("batches"):
                        batch = _batch(chunk, shown[span], recipe, fabric, generator)
                        wanted = targets[chunk.clips[span]].to(fabric.device)
                    if is_mixed:
                        batch, wanted = mix(batch, wanted, settings.mixup, generator)
                    loss = model(batch, wanted)
                    progress = (epoch + len(losses) / n_steps) / settings.epochs
                    _set_rate(optimizer, settings.learning_rate * rate_at(progress))
                    optimizer.zero_grad()
                    fabric.backward(loss)
                    fabric.clip_gradients(model, optimizer, max_norm=GRADIENT_NORM, error_if_nonfinite=False)
                    optimizer.step()
                    losses.append(loss.item())
            train_loss = float(np.mean(losses))
            if not math.isfinite(train_loss):
                raise InputError(
                    f"the loss of stream {' and '.join(streams)} became {train_loss} in epoch {epoch + 1}; lower the "
                    f"recipe's [fit] learning_rate, which is {settings.learning_rate}"
                )
            if len(validation):
                asked = loader.each(streams, validation, partial(_ask, objective, corpus, recipe))
                for name, probabilities in asked.items():
                    curves[name].append(_point(probabilities, corpus, validation, epoch + 1, train_loss))
            if keeper and epoch + 1 < settings.epochs and keeper.is_due():
                keeper.save(take_state(objective, optimizer, generator, curves, epoch + 1))
            on_epoch(epoch + 1, settings.epochs)
    return objective.cpu().eval(), {name: tuple(curves[name]) for name in objective.names}


def _that_have(streams: Sequence[str], corpus: Corpus, clips: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of `clips` that have any of `streams`; where a recipe masks what is missing, others teach nothing."""
    has_any = np.any([corpus.loader.sources[stream].n_frames > 0 for stream in streams], axis=0)
    if not has_any[clips].any():
        raise InputError(f"no clip to learn from has {' or '.join(streams)}; leave it out of the recipe")
    kept: NDArray[np.int64] = clips[has_any[clips]]
    return kept


def _groups(objective: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters by how much they decay."""
    linear = [values for name, values in objective.named_parameters() if "linear_path" in name]
    rest = [values for name, values in objective.named_parameters() if "linear_path" not in name]
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": weight_decay}]
    return [*groups, {"params": linear, "weight_decay": LINEAR_PATH_DECAY}] if linear else groups


def _batch(
    chunk: Chunk, windows: Sequence[Window], recipe: Recipe, fabric: Fabric, generator: np.random.Generator
) -> Batch:
    """What a step is shown of `windows`: some of their tokens, but of pretrained embeddings all, as there are few."""
    batch: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    for stream, frames in chunk.frames.items():
        tokens = cut_tokens(frames, windows)
        if not is_embedding(frames.spec):
            tokens = patchout(tokens, frames_a_token(frames.spec, recipe), recipe.fit.patchout, generator)
        batch[stream] = batch_tensors(frames, tokens, fabric.device)
    return batch


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def mix(batch: Batch, targets: Tensor, alpha: float, generator: np.random.Generator) -> tuple[Batch, Tensor]:
    """Mix each window of a batch with another by one share drawn from Beta(alpha, alpha) (Zhang et al., ICLR 2018).

    All streams of a window are mixed with those of the same other window.
    """
    share = float(generator.beta(alpha, alpha))
    share = max(share, 1 - share)
    other = torch.from_numpy(generator.permutation(len(targets))).to(targets.device)
    mixed = {  # in place in the copy: batches are large, and fresh memory is slow
        stream: (inputs[other].lerp_(inputs, share), mask | mask[other], times_s)
        for stream, (inputs, mask, times_s) in batch.items()
    }
    return mixed, share * targets + (1 - share) * targets[other]


def rate_at(progress: float) -> float:
    """The share of the full learning rate at `progress` in [0, 1]: a linear rise, then half a cosine down to 0."""
    if progress < WARM_UP_SHARE:
        return 0.05 + 0.95 * progress / WARM_UP_SHARE
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP_SHARE) / (1 - WARM_UP_SHARE)))


def _ask(
    objective: EncoderObjective | JointObjective, corpus: Corpus, recipe: Recipe, chunk: Chunk
) -> dict[str, NDArray[np.float32]]:
    """The probabilities (n_clips, n_labels) of a chunk's clips, by the curve that they belong to."""
    windows = scoring_windows(chunk.clips, corpus.ticks, recipe)
    return {
        name: as_array(clip_probabilities(scores, owners(windows), corpus.task))
        for name, scores in objective.window_scores(chunk.frames, windows).items()
    }


def _point(
    probabilities: NDArray[np.float32], corpus: Corpus, validation: NDArray[np.int64], epoch: int, train_loss: float
) -> EpochPoint:
    """A point of a learning curve from the probabilities of the validation clips."""
    wanted = corpus.targets[validation]
    loss = float(clip_loss(torch.from_numpy(probabilities), torch.from_numpy(wanted), corpus.task))
    score = headline_score(corpus.task, wanted, probabilities)
    return EpochPoint(epoch=epoch, train_loss=train_loss, validation_loss=loss, validation_score=score)
