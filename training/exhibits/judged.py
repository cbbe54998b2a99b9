"""The test clips of a finished run as its `predictions.parquet` has them: what they are, and what was heard in them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage_schema.errors import StoreError
from training.recipe import Task
from training.verdict import PREDICTED, PREDICTIONS

HEARD = 0.5
"""A label of a multi-label task counts as heard from this probability on."""


@dataclass(frozen=True)
class Judged:
    """Every test clip of a run and what one model says of it; all of them lie fold after fold.

    is_true: (n_clips, n_labels) bool. probabilities: (n_clips, n_labels) float32.
    """

    clip_ids: tuple[str, ...]
    uris: tuple[str, ...]
    folds: NDArray[np.int64]
    is_true: NDArray[np.bool_]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def is_heard(self, task: Task) -> NDArray[np.bool_]:
        """(n_clips, n_labels) what the model would answer: the likeliest label, or all above `HEARD`."""
        if task == "multi_label":
            return self.probabilities >= HEARD
        likeliest = self.probabilities.argmax(axis=1)
        chosen: NDArray[np.bool_] = np.arange(self.probabilities.shape[1]) == likeliest[:, None]
        return chosen


def read_judged(folder: Path, model: str, labels: Sequence[str]) -> Judged:
    """What `model` said of every test clip of the run in `folder`. Raises StoreError for a file that is not so."""
    path = folder / PREDICTIONS
    try:
        table = pq.read_table(path, filters=[("model", "=", model)])
        if not table.schema.equals(PREDICTED):
            raise ValueError("its columns are others")
        if tuple(json.loads((table.schema.metadata or {}).get(b"labels", b"[]"))) != tuple(labels):
            raise ValueError("its labels are not those of the models")
        place = {label: i for i, label in enumerate(labels)}
        is_true = np.zeros((table.num_rows, len(labels)), bool)
        for row, own in enumerate(table["labels"].to_pylist()):
            is_true[row, [place[label] for label in own]] = True
        flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        probabilities = flat.astype(np.float32).reshape(table.num_rows, len(labels))
        return Judged(
            tuple(table["clip_id"].to_pylist()),
            tuple(table["uri"].to_pylist()),
            table["fold"].to_numpy().astype(np.int64),
            is_true,
            probabilities,
        )
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} does not hold what the run said of its test clips ({error}); restore it, or train again"
        ) from error
