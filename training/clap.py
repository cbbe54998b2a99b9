"""CLAP in every table: zero-shot, by what it makes of the names of the labels, and a linear probe on its embeddings.

Both are baselines whether the recipe names the stream or not, wherever the store holds it; where it does not, the table
says why they were not run. Training sees no CLAP: its embeddings of sounds and of labels lie in the store.
Source: Wu et al., "Large-scale contrastive language-audio pretraining", ICASSP 2023.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError
from storage_schema.labels import LabelEmbeddings
from storage_schema.reader import StreamReader
from storage_schema.snapshot import Snapshot
from training.baselines import LinearModel, logistic_regression, pool_chunk
from training.loader import FrameSource, Loader
from training.recipe import Task

CLAP, ZERO_SHOT, PROBE = "clap", "CLAP zero-shot", "CLAP linear probe"
NO_WEIGHTS = "no weights"

SHARE = 8
"""Where no model of the recipe hears CLAP, its embeddings may take an eighth of the features' memory beside it."""


@dataclass(frozen=True)
class Clap:
    """What the CLAP baselines go by. Clips are indices as in the corpus.

    loader: gives the stream `clap` of all clips; None where they cannot be run. labels: (n_labels, dim) the labels in
    its space, of length 1, times `scale`. not_run: the baselines that cannot be run, and why.
    """

    loader: Loader | None = None
    labels: NDArray[np.float32] | None = None
    scale: float = 1.0
    not_run: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys((ZERO_SHOT, PROBE), NO_WEIGHTS))

    @property
    def fingerprint(self) -> str | None:
        """Of the stream that is heard."""
        return None if self.loader is None else self.loader.specs[CLAP].fingerprint

    def pool(self, clips: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_clips, 2 * dim): mean and standard deviation of each clip's embeddings."""
        assert self.loader is not None, "asked only where there is something to hear"
        return self.loader.each([CLAP], clips, pool_chunk)[CLAP]

    def fit(self, clips: NDArray[np.int64], targets: NDArray[np.float32], task: Task) -> dict[str, LinearModel]:
        """The baselines that can be run, the probe fitted on `clips`; targets: (n_clips, n_labels)."""
        if self.loader is None:
            return {}
        found = {} if self.labels is None else {ZERO_SHOT: zero_shot(self.labels, self.scale, task)}
        return found | {PROBE: logistic_regression([CLAP], self.pool(clips), targets, task)}

    def score(
        self, baselines: Mapping[str, LinearModel], clips: NDArray[np.int64], task: Task
    ) -> dict[str, NDArray[np.float32]]:
        """The probabilities (n_clips, n_labels) of `clips` by `baselines`, which hear CLAP alone."""
        if self.loader is None or not baselines:
            return {}
        pooled = self.pool(clips)
        return {name: model.probabilities(pooled, task) for name, model in baselines.items()}


def zero_shot(labels: NDArray[np.float32], scale: float, task: Task) -> LinearModel:
    """The label whose words lie nearest to the sound: the mean cosine over a clip's windows, times the model's scale.

    labels: (n_labels, dim) of length 1. Where several labels may be true nothing says which cosine is near enough, so
    that scores are only ranked: they are left unscaled there, because the sigmoid of a scaled one is 1 for all of them.
    """
    n_labels, dim = labels.shape
    weight = np.zeros((2 * dim, n_labels), np.float32)  # of the mean, and of the standard deviation
    weight[:dim] = labels.T * (scale if task == "single_label" else 1.0)
    return LinearModel(
        (CLAP,), np.zeros(2 * dim, np.float32), np.ones(2 * dim, np.float32), weight, np.zeros(n_labels, np.float32)
    )


def find_clap(
    snapshot: Snapshot,
    clip_ids: tuple[str, ...],
    uris: tuple[str, ...],
    labels: Sequence[str],
    loader: Loader,
    fingerprint: str | None = None,
) -> Clap:
    """What the CLAP baselines go by on these clips; `loader` is that of the recipe's streams.

    fingerprint: of the embeddings that are wanted; those of the recipe, or the ones extracted last, where not named.
    """
    if CLAP in loader.sources:
        reader, own = loader.sources[CLAP].reader, loader
    else:
        try:
            reader = snapshot.stream(CLAP, fingerprint)
        except InputError:  # it has none
            return Clap()
        own = Loader({CLAP: FrameSource(reader, clip_ids, uris)}, loader.limit_bytes // SHARE)
    n_lacking = sum(clip_id not in reader.locations for clip_id in clip_ids)
    if n_lacking == len(clip_ids):
        return Clap()
    if n_lacking:
        why = f"{n_lacking} of {len(clip_ids)} clips have no clap features"
        return Clap(not_run=dict.fromkeys((ZERO_SHOT, PROBE), why))
    words, problem = _words(snapshot, reader, labels)
    if words is None:
        return Clap(own, not_run={ZERO_SHOT: problem})
    return Clap(own, words.of(labels), words.scale, {})


def _words(snapshot: Snapshot, reader: StreamReader, labels: Sequence[str]) -> tuple[LabelEmbeddings | None, str]:
    """What CLAP makes of the labels, or None and why."""
    spec = reader.spec
    try:
        words = snapshot.label_embeddings(spec.stream, spec.fingerprint)
    except StoreError as error:
        return None, str(error)
    if words is None:
        return None, "no label is embedded; a model with its tokenizer and `timbrel extract --streams clap` do that"
    if missing := words.missing(labels):
        return None, f"{len(missing)} labels are not embedded (such as {missing[0]!r}); run `timbrel extract` again"
    if words.vectors.shape[1:] != spec.array("embedding").shape:
        return None, "its embeddings of labels and of sounds are not of one length; extract them again"
    return words, ""
