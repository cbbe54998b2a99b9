"""Scores for audio that no store has seen: the models of a finished run, asked with freshly made features.

The same code that judged the run scores here. With several folds their models are averaged: a clip's score is the
mean over folds of the mean over windows of the probabilities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.streams import Arrays, StreamSpec
from training.judge import FUSION, score_clips
from training.model import FoldModel
from training.run import load_models
from training.windows import StreamFrames, clip_ticks


@dataclass(frozen=True)
class Predictor:
    """The fold models of one run. Made by `predict`."""

    models: tuple[FoldModel, ...]

    @property
    def specs(self) -> dict[str, StreamSpec]:
        """What must be extracted, exactly so, before `score` can be asked."""
        return dict(self.models[0].specs)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.models[0].labels

    def check(self, specs: Mapping[str, StreamSpec]) -> None:
        """Raise InputError unless features made by `specs` are what the models were fitted on."""
        for stream, wanted in self.specs.items():
            found = specs.get(stream)
            if found is None or found.fingerprint != wanted.fingerprint:
                raise InputError(
                    f"the models hear stream {stream} with fingerprint {wanted.fingerprint}, but "
                    f"{'none' if found is None else found.fingerprint} was offered; extract it with the parameters "
                    f"{dict(wanted.parameters)}, or train again on what there is"
                )

    def score(self, features: Mapping[str, Arrays], duration_s: float) -> NDArray[np.float32]:
        """The probability of every label, (n_labels,) in [0, 1], in one clip that lasts `duration_s`.

        features: the arrays of every stream in `specs`, as its extractor makes them for the whole clip.
        Raises InputError where a stream is missing or its arrays are not what its spec says.
        """
        missing = [stream for stream in self.specs if stream not in features]
        if missing:
            raise InputError(f"the models need the streams {', '.join(self.specs)}; {', '.join(missing)} did not come")
        frames = {stream: StreamFrames.of_clip(spec, features[stream]) for stream, spec in self.specs.items()}
        only, ticks = np.zeros(1, np.int64), np.array([clip_ticks(duration_s)], np.int64)
        found = [score_clips(model, frames, only, ticks) for model in self.models]
        decides = FUSION if len(frames) > 1 else next(iter(frames))
        mean: NDArray[np.float32] = np.mean([scores[decides][0] for scores in found], axis=0)
        return mean


def predict(run_folder: Path) -> Predictor:
    """The models of the finished run in `run_folder`. Raises StoreError where they are missing or damaged."""
    return Predictor(tuple(load_models(run_folder).values()))
