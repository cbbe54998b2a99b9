"""What a training run found, as one document: written to `metrics.json`, read by the report and the command line.

Nothing here computes; the words are shared by those who measure and those who show.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Document):
    """A figure with its bootstrap 95 % interval over clips; all three in the metric's own unit, a share of 1."""

    value: float
    low: float
    high: float


class ClassScore(_Document):
    """One class of one model. `score` is recall for single-label tasks and average precision for multi-label ones."""

    label: str
    n_clips: int
    score: float


class EpochPoint(_Document):
    """One epoch of one learning curve, on the split that the settings are chosen on.

    `validation_score` is None where no label has a figure there; NaN, which JSON has no word for, becomes None.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_score: float | None

    @field_validator("validation_score")
    @classmethod
    def _no_figure_is_none(cls, value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value


class ModelResult(_Document):
    """One row of the table.

    `metrics` maps a metric's name ("accuracy", "macro_f1"; "map", "mauc", "d_prime") to its figure on the test clips.
    `seconds` is the wall time its fitting took. `confusion[i][j]` counts clips of class i that were taken for class j
    (single-label only, otherwise empty). `curves` holds one learning curve a fold. A metric that no class has a figure
    for is left out of `metrics`.
    """

    name: str
    kind: Literal["baseline", "stream", "fusion"]
    n_parameters: int
    seconds: float
    metrics: dict[str, Interval]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...] = ()
    curves: tuple[tuple[EpochPoint, ...], ...] = ()
    fusion_weights: dict[str, float] = {}


class Comparison(_Document):
    """The paired difference `better - other` of the headline metric, over the same clips."""

    name: str
    other: str
    difference: Interval


class AblationRow(_Document):
    """One choice of streams and of how to fuse them. `fusion` is "alone" where there is one stream.

    `minus_all`: the paired difference of the headline metric to all streams by the same fusion, None for all streams.
    `train_s`: wall time of fitting over all folds. `extract_s_per_hour`: seconds of one core an hour of audio takes to
    extract, None where nothing was measured. `bytes_per_hour`: what an hour of audio takes in the store.
    """

    streams: tuple[str, ...]
    fusion: str
    metrics: dict[str, Interval]
    minus_all: Interval | None = None
    n_parameters: int
    train_s: float
    extract_s_per_hour: float | None = None
    bytes_per_hour: float | None = None


class Provenance(_Document):
    """All that is needed to repeat the run.

    `memory_bytes` is the limit on the features in memory, where there were more of them: the order in which clips are
    shown then depends on it. `clap` is the fingerprint of the embeddings that CLAP's baselines went by.
    """

    snapshot: str
    fingerprints: dict[str, str]
    recipe: str
    versions: dict[str, str]
    seed: int
    started_at: str
    memory_bytes: int | None = None
    clap: str | None = None


class RunResult(_Document):
    """One training run over one or more folds.

    `headline` names the metric that the table and the plots show. `notes` are sentences about the clips without which
    the figures would mislead, see `training.notes`. `not_run` maps a baseline that was not run to why. `timing` divides
    the wall time in seconds into "reading" (waiting for the store), "batches" (making a model's inputs in training),
    "fitting", "judging" and "rest".
    """

    run_id: str
    dataset: str
    task: Literal["single_label", "multi_label"]
    headline: str
    labels: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    n_folds: int
    rule: str
    notes: tuple[str, ...] = ()
    models: tuple[ModelResult, ...]
    not_run: dict[str, str] = {}
    comparisons: tuple[Comparison, ...]
    ablation: tuple[AblationRow, ...] = ()
    timing: dict[str, float] = {}
    provenance: Provenance
