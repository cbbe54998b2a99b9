"""A finished run as a folder for other programs, with what the licences of its streams' weights ask.

It stands here because `features` knows the weights and `training` the models.
"""

from collections.abc import Mapping
from pathlib import Path

from features.weights import WEIGHTS
from storage_schema.errors import InputError
from storage_schema.streams import StreamSpec
from training.export import Export, export_models
from training.run import load_models, read_result


def export_run(run_folder: Path, folder: Path, fold: int | None = None) -> Export:
    """Write the models of the run in `run_folder`, all folds averaged or only `fold`, as the new folder `folder`.

    Raises InputError for a fold that the run does not have; see also `training.export.export_models`.
    """
    models = load_models(run_folder)
    if fold is not None and fold not in models:
        raise InputError(f"the run has no fold {fold}; choose from {', '.join(map(str, models))}")
    kept = models if fold is None else {fold: models[fold]}
    return export_models(folder, kept, read_result(run_folder), licence_notes(next(iter(kept.values())).specs))


def licence_notes(specs: Mapping[str, StreamSpec]) -> dict[str, str]:
    """By stream, the licence of the weights its features are made with; streams without weights are left out."""
    known = {weight.sha256: weight for weight in WEIGHTS.values()}
    notes = {}
    for stream, spec in specs.items():
        parts = []
        for name, sha256 in spec.weights.items():
            weight = known.get(sha256)
            if weight is None:
                parts.append(f"{name}: not published by timbrel, ask whoever made it")
            else:
                parts.append(f"{name}: {weight.licence}; {weight.source}")
        if parts:
            notes[stream] = ". ".join(parts)
    return notes
