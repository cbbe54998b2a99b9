"""Two finished runs against each other, on the clips that both were tested on.

What both runs said of every test clip lies in their `predictions.parquet`, so that nothing is scored again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.store import Store
from training.bootstrap import draw, paired_difference
from training.exhibits.judged import Judged, read_judged
from training.judge import FUSION
from training.metrics import HEADLINE, make_measure
from training.results import Interval, RunResult
from training.run import read_result

_SEED = 0
"""Of the resamples of clips, the same for both runs."""


@dataclass(frozen=True)
class Versus:
    """`new` and `old` by their headline metric over the `n_clips` test clips they share, and new - old, paired."""

    metric: str
    n_clips: int
    new: float
    old: float
    difference: Interval

    @property
    def is_not_worse(self) -> bool:
        """Whether the 95 % interval of the difference leaves room for the new one to be as good."""
        return self.difference.high >= 0

    @property
    def sentence(self) -> str:
        """`accuracy 93.1 against 92.5 on 80 clips, +0.6 points [-1.2, +2.5], paired`."""
        low, high = 100 * self.difference.low, 100 * self.difference.high
        return (
            f"{self.metric} {100 * self.new:.1f} against {100 * self.old:.1f} on {self.n_clips} test clips of both, "
            f"{100 * self.difference.value:+.1f} points [{low:+.1f}, {high:+.1f}], paired"
        )


def weigh(store: Store, new_run: str, old_run: str) -> Versus:
    """The model of `new_run` against that of `old_run`: the fusion, or the only stream there is.

    A label that only one of them knows counts against the other: it gives it probability 0.
    Raises InputError where the two share no test clip or have different tasks, StoreError where a run is damaged.
    """
    with store.open_run(new_run) as folder:
        new = read_result(folder)
        new_judged = read_judged(folder, _model_of(new), new.labels)
    with store.open_run(old_run) as folder:
        old = read_result(folder)
        old_judged = read_judged(folder, _model_of(old), old.labels)
    if new.task != old.task:
        raise InputError(f"run {new_run} is {new.task} and run {old_run} {old.task}, which cannot be weighed")
    shared = sorted(set(new_judged.clip_ids) & set(old_judged.clip_ids))
    if not shared:
        raise InputError(
            f"no clip was tested in both run {new_run} and run {old_run}, so that they cannot be weighed; a recipe "
            'with [split] kind = "official", "folds" or "by_hash" keeps its test clips as a dataset grows'
        )
    labels = list(dict.fromkeys((*new.labels, *old.labels)))
    targets, of_new = _aligned(new_judged, new.labels, shared, labels)
    _, of_old = _aligned(old_judged, old.labels, shared, labels)
    metric = HEADLINE[new.task]
    drawn = [draw(make_measure(new.task, targets, each), len(shared), _SEED) for each in (of_new, of_old)]
    difference = paired_difference(drawn[0], drawn[1], metric)
    return Versus(metric, len(shared), drawn[0].values[metric], drawn[1].values[metric], difference)


def _model_of(result: RunResult) -> str:
    """The model that a run stands for."""
    names = [model.name for model in result.models]
    return FUSION if FUSION in names else next(model.name for model in result.models if model.kind == "stream")


def _aligned(
    judged: Judged, own: tuple[str, ...], clip_ids: list[str], labels: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets and probabilities, (n_clips, n_labels), in the order of `clip_ids` and `labels`."""
    place = {clip_id: i for i, clip_id in enumerate(judged.clip_ids)}
    rows = [place[clip_id] for clip_id in clip_ids]
    columns = [labels.index(label) for label in own]
    targets, probabilities = (np.zeros((len(rows), len(labels)), np.float32) for _ in range(2))
    targets[:, columns] = judged.is_true[rows]
    probabilities[:, columns] = judged.probabilities[rows]
    return targets, probabilities
