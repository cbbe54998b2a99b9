"""Raw audio to scores: the run's own extractors, then the run's own models.

It stands here because it needs both sides: `features` makes what `training` reads, and only `flows` knows both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.extractor import Extractor
from features.registry import load_extractor
from pipeline.decode import decode_each
from pipeline.extract import extract_checked
from pipeline.locations import Location
from storage_schema.errors import ClipError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.streams import Arrays
from training.predict import predict


@dataclass(frozen=True)
class Prediction:
    """One file: a probability a label, or the `problem` that kept it from being heard."""

    file: str
    scores: dict[str, float]
    problem: str | None = None

    def best(self, n: int) -> list[tuple[str, float]]:
        """The `n` likeliest labels, the likeliest first."""
        return sorted(self.scores.items(), key=lambda item: -item[1])[:n]


def predict_files(
    run_folder: Path, files: Sequence[Location], *, on_progress: OnProgress = no_progress
) -> list[Prediction]:
    """One prediction a file, in order; a file that cannot be heard says why and costs the others nothing.

    Raises InputError where this version of timbrel makes other features than the run was trained on.
    """
    predictor = predict(run_folder)
    extractors = {stream: load_extractor(spec) for stream, spec in predictor.specs.items()}
    predictions = []
    on_progress("predict", 0, len(files))
    for done, file in enumerate(files, start=1):
        try:
            features, duration_s = _features(file, extractors)
            scores = predictor.score(features, duration_s)
            named = dict(zip(predictor.labels, map(float, scores), strict=True))
            predictions.append(Prediction(str(file), named))
        except ClipError as error:
            predictions.append(Prediction(str(file), {}, f"{error.kind}: {error.message}"))
        on_progress("predict", done, len(files))
    return predictions


def _features(file: Location, extractors: Mapping[str, Extractor]) -> tuple[dict[str, Arrays], float]:
    """The arrays of every stream, checked as in an extraction, and the duration in seconds. ClipError as there."""
    features = {}
    waveforms, duration_s = decode_each(file, {one.spec.grid.sample_rate_hz for one in extractors.values()})
    for stream, extractor in extractors.items():
        (found,) = extract_checked(extractor, [waveforms[extractor.spec.grid.sample_rate_hz]])
        if isinstance(found, ClipError):
            raise ClipError(found.kind, f"{file}: {found.message}")
        features[stream] = found
    return features, duration_s
