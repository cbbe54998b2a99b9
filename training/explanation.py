"""What the streams of a finished run are worth to it: its probabilities divided among them, by class or for one clip.

A clip is explained by the models that judged it, those of the fold whose test set it is in. Where it is in none, the
models of all folds are averaged, which have learned from it or were chosen by it, and `ClipExplanation.fold` is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.progress import OnProgress, no_progress
from training.attribution import shapley
from training.loader import Chunk
from training.model import FoldModel
from training.run import FinishedRun

_MOST_NAMED = 3
"""Names that a message about a clip lists."""


@dataclass(frozen=True)
class Parts:
    """A probability, in [0, 1], divided: `score` is `base`, said without hearing anything, plus all of `streams`."""

    score: float
    base: float
    streams: dict[str, float]


@dataclass(frozen=True)
class ClassParts:
    """The mean over a class's test clips of the parts of that class's own probability."""

    label: str
    n_clips: int
    parts: Parts


@dataclass(frozen=True)
class RunExplanation:
    """All test clips of a run. `overall` is the mean over every label of every test clip; None where none has any."""

    run_id: str
    snapshot: str
    streams: tuple[str, ...]
    n_clips: int
    overall: Parts | None
    classes: tuple[ClassParts, ...]


@dataclass(frozen=True)
class ClipExplanation:
    """One clip of a run. `labels` are the true ones; `parts` of every label that the models know, the likeliest first.

    fold: the number of the fold that tests the clip, None where none does and the models of all folds were averaged.
    """

    run_id: str
    snapshot: str
    streams: tuple[str, ...]
    clip_id: str
    uri: str
    labels: tuple[str, ...]
    fold: int | None
    parts: dict[str, Parts]


def explain_run(run: FinishedRun, on_progress: OnProgress = no_progress) -> RunExplanation:
    """What each stream adds to the probability of the right answer, per class and overall, on the run's test clips.

    Each fold's models explain the test clips of that fold. Raises InputError for more streams than
    `training.attribution.MAX_STREAMS`.
    """
    corpus, folds = run.corpus, run.corpus.folds
    streams = tuple(run.models[0].specs)
    rows: list[NDArray[np.float64]] = []  # a label of a clip each: the base, then every stream
    columns: list[NDArray[np.int64]] = []
    for done, (fold, model) in enumerate(zip(folds, run.models, strict=True)):
        on_progress("explaining", done, len(folds))
        found = corpus.loader.each(streams, fold.test, partial(_attribute, model, corpus.ticks))
        clip, label = np.nonzero(corpus.targets[fold.test])
        rows.append(np.column_stack([found["base"][clip, label], found["values"][clip, :, label]]))
        columns.append(label)
    on_progress("explaining", len(folds), len(folds))
    pairs, label_of = np.concatenate(rows), np.concatenate(columns)
    classes = tuple(
        ClassParts(label, int(is_its.sum()), _mean_parts(pairs[is_its], streams))
        for column, label in enumerate(corpus.labels)
        if (is_its := label_of == column).any()
    )
    overall = _mean_parts(pairs, streams) if len(pairs) else None
    n_clips = sum(len(fold.test) for fold in folds)
    return RunExplanation(run.result.run_id, run.snapshot.id, streams, n_clips, overall, classes)


def _attribute(model: FoldModel, ticks: NDArray[np.int64], chunk: Chunk) -> dict[str, NDArray[np.float64]]:
    found = shapley(model, chunk.frames, chunk.clips, ticks)
    return {"base": found.base, "values": found.values}


def explain_clip(run: FinishedRun, name: str, on_progress: OnProgress = no_progress) -> ClipExplanation:
    """What each stream adds to the probability of every label in one clip.

    name: its uri or clip_id, or what `find_clip` takes for one where no other clip shares it.
    Raises InputError for a name that belongs to no clip of the run, or to several, and for more streams than
    `training.attribution.MAX_STREAMS`.
    """
    corpus = run.corpus
    index = find_clip(run, name)
    asked = [(fold, model) for fold, model in zip(corpus.folds, run.models, strict=True) if index in fold.test]
    is_tested = bool(asked)
    models = [model for _, model in asked] or list(run.models)
    found = []
    for done, model in enumerate(models):
        on_progress("explaining", done, len(models))
        clips = np.array([index], np.int64)
        (chunk,) = corpus.loader.read(tuple(model.specs), [clips])
        found.append(shapley(model, chunk.frames, clips, corpus.ticks))
    on_progress("explaining", len(models), len(models))
    base = np.mean([one.base[0] for one in found], axis=0)
    values = np.mean([one.values[0] for one in found], axis=0)
    rows = np.column_stack([base, values.T])  # (n_labels, 1 + n_streams)
    order = np.argsort(-rows.sum(axis=1), kind="stable")
    example = corpus.examples[index]
    return ClipExplanation(
        run.result.run_id,
        run.snapshot.id,
        found[0].streams,
        example.clip_id,
        example.uri,
        example.labels,
        asked[0][0].number if is_tested else None,
        {corpus.labels[i]: _mean_parts(rows[i : i + 1], found[0].streams) for i in order.tolist()},
    )


def find_clip(run: FinishedRun, name: str) -> int:
    """The index in the run's corpus of the clip that `name` stands for.

    It may be a uri, the end of one from a folder's or the file's name on, a clip_id, or the beginning of a uri or id.
    A copy of a recording stands for the recording. Raises InputError that names the closest, or why it is not asked.
    """
    dataset = run.result.dataset
    table = run.snapshot.clips.select(["dataset", "uri", "clip_id", "problem"]).to_pylist()
    rows = [row for row in table if row["dataset"] == dataset]
    exact = [row for row in rows if name in (row["uri"], row["clip_id"])]
    named = [row for row in rows if row["uri"].endswith(f"/{name}")] if name else []
    begun = [row for row in rows if row["uri"].startswith(name) or (row["clip_id"] or "").startswith(name)]
    found = exact or named or begun
    if not found:
        raise InputError(f"{dataset} has no clip {name!r} in snapshot {run.snapshot.id}; {_closest(name, rows)}")
    if len({row["clip_id"] or row["uri"] for row in found}) > 1:
        shown = ", ".join(row["uri"] for row in found[:_MOST_NAMED])
        raise InputError(
            f"{len(found)} clips of {dataset} {'end' if named else 'begin'} with {name!r}, such as {shown}; "
            "write more of the name"
        )
    row = found[0]
    if row["clip_id"] is None:
        raise InputError(
            f"{row['uri']} could not be read at ingest, so that nothing can be said of it: {row['problem']}"
        )
    indices = {example.clip_id: i for i, example in enumerate(run.corpus.examples)}
    if row["clip_id"] not in indices:
        raise InputError(
            f"run {run.result.run_id} leaves {row['uri']} out: its recipe does not take the clip's labels, or the clip "
            f"lacks one of the streams {', '.join(run.models[0].specs)}; `timbrel status` says what failed"
        )
    return indices[row["clip_id"]]


def _closest(name: str, rows: Sequence[dict[str, str | None]]) -> str:
    """`the closest are a.wav, b.wav`, or some that there are."""
    names = [found for row in rows for found in (row["uri"], row["clip_id"]) if found]
    close = get_close_matches(name, names, n=_MOST_NAMED)
    if close:
        return f"the closest: {', '.join(close)}"
    return f"write its uri or clip_id, such as {', '.join(names[:1])}"


def _mean_parts(rows: NDArray[np.float64], streams: Sequence[str]) -> Parts:
    """The mean of some rows, each the base and then every stream."""
    base, *values = rows.mean(axis=0).tolist()
    return Parts(base + sum(values), base, dict(zip(streams, values, strict=True)))
