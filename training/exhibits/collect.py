"""All exhibits of a run in one pass over its test clips, a few hundred clips in memory at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError
from storage_schema.snapshot import Snapshot
from storage_schema.store import Store
from training.attribution import MAX_STREAMS, Attribution, shapley
from training.exhibits.embedding_map import N_ANCHORS, EmbeddingMap, Matrix, draw_clips, join_folds, make_map
from training.exhibits.judged import Judged, read_judged
from training.exhibits.mistakes import Mistake, Recordings, make_mistake, worst_mistakes
from training.exhibits.reading import ClipReader, Clips, chunks
from training.exhibits.shares import Shares, summarise
from training.judge import FUSION
from training.model import FoldModel, clip_embeddings
from training.results import RunResult
from training.run import load_models


@dataclass(frozen=True)
class Exhibits:
    """What a report shows beside figures; `notes` says in sentences what is not there, and why.

    `n_mistaken` counts the test clips in which a wrong label was heard, of which `mistakes` are the worst.
    """

    map: EmbeddingMap | None = None
    shares: Shares | None = None
    mistakes: tuple[Mistake, ...] = ()
    n_mistaken: int = 0
    notes: tuple[str, ...] = ()


def make_exhibits(store: Store, result: RunResult) -> Exhibits:
    """The exhibits of the run `result`; what cannot be made any more is left out and said, never an error."""
    try:
        with store.open_run(result.run_id) as folder:
            models = load_models(folder)
            judged = read_judged(folder, _deciding_model(result), result.labels)
        snapshot = store.snapshot(result.provenance.snapshot)
        reader = ClipReader.of(snapshot, judged, next(iter(models.values())))
        return _collect(judged, models, reader, snapshot, result)
    except (InputError, StoreError) as error:
        return Exhibits(notes=(f"The map, the mistakes and the streams' shares are left out: {error}.",))


def _deciding_model(result: RunResult) -> str:
    """The name under which the run's answers stand: the fusion, or the only stream."""
    names = {model.kind: model.name for model in result.models}
    return names.get("fusion", names.get("stream", FUSION))


def _collect(
    judged: Judged, models: Mapping[int, FoldModel], reader: ClipReader, snapshot: Snapshot, result: RunResult
) -> Exhibits:
    task, labels, seed = result.task, result.labels, result.provenance.seed
    wrong = worst_mistakes(judged, task)
    known = reader.readable(np.flatnonzero(np.isin(judged.folds, list(models))))
    if not len(known):
        raise InputError("the store no longer has the features of the run's test clips")
    drawn = known[draw_clips(len(known), seed)]
    places = np.union1d(drawn, np.intersect1d([place for place, _ in wrong], known)).astype(np.int64)
    embedded, attribution = _hear(judged, models, reader, places, seed)

    rows = {place: row for row, place in enumerate(places.tolist())}
    recordings = Recordings.of(snapshot, result.provenance.fingerprints)
    mistakes = []
    for place, label in wrong:
        if place in rows:
            clip_id = judged.clip_ids[place]
            mistake = make_mistake(judged, place, label, labels, attribution, rows[place])
            sound = recordings.sound(clip_id, reader.durations_s.get(clip_id))
            mistakes.append(replace(mistake, sound=sound, contour=recordings.contour(clip_id)))
    chosen = np.searchsorted(places, drawn)
    return Exhibits(
        map=make_map(judged, places, embedded, labels, task),
        shares=None if attribution is None else summarise(_rows(attribution, chosen), judged.is_true[drawn], labels),
        mistakes=tuple(mistakes),
        n_mistaken=int((judged.is_heard(task) & ~judged.is_true).any(axis=1).sum()),
        notes=tuple(_notes(judged, known, attribution, recordings, bool(mistakes))),
    )


def _hear(
    judged: Judged, models: Mapping[int, FoldModel], reader: ClipReader, places: NDArray[np.int64], seed: int
) -> tuple[Matrix, Attribution | None]:
    """The embeddings of the clips at `places`, all in one space, and what each stream adds to their probabilities."""
    folds = judged.folds[places]
    anchors = draw_clips(len(places), seed, N_ANCHORS)
    common = reader.read(places[anchors]) if len(models) > 1 else None
    own: dict[int, Matrix] = {}
    seen: dict[int, Matrix] = {}
    divided: dict[int, Attribution] = {}
    for fold, model in models.items():
        if not (folds == fold).any():
            continue
        embedded, parts = [], []
        for stretch in chunks(places[folds == fold]):
            clips = reader.read(stretch)
            embedded.append(_embed(model, clips))
            if len(model.specs) <= MAX_STREAMS:
                parts.append(shapley(model, clips.frames, np.arange(len(stretch)), clips.ticks))
        own[fold] = np.concatenate(embedded)
        if parts:
            divided[fold] = _joined(parts)
        if common is not None:
            seen[fold] = _embed(model, common)
    order = np.argsort(np.concatenate([np.flatnonzero(folds == fold) for fold in own]), kind="stable")
    attribution = _rows(_joined(list(divided.values())), order) if divided else None
    return join_folds(folds, own, anchors, seen), attribution


def _embed(model: FoldModel, clips: Clips) -> Matrix:
    return clip_embeddings(model, clips.frames, np.arange(len(clips.places)), clips.ticks).astype(np.float64)


def _joined(parts: list[Attribution]) -> Attribution:
    base, values = ([getattr(part, name) for part in parts] for name in ("base", "values"))
    return Attribution(parts[0].streams, np.concatenate(base), np.concatenate(values))


def _rows(found: Attribution, rows: NDArray[np.int64]) -> Attribution:
    return Attribution(found.streams, found.base[rows], found.values[rows])


def _notes(
    judged: Judged,
    known: NDArray[np.int64],
    attribution: Attribution | None,
    recordings: Recordings,
    is_mistaken: bool,
) -> list[str]:
    notes = []
    if len(known) < len(judged):
        notes.append(f"{len(judged) - len(known)} of {len(judged)} test clips lack a stream in the store by now.")
    if attribution is None:
        notes.append(f"The streams' shares are left out: they are computed for at most {MAX_STREAMS} streams.")
    if is_mistaken and recordings.waveform is None:
        notes.append("The store has no waveform stream, so that mistakes come without picture and sound.")
    elif is_mistaken and recordings.pitch is None:
        notes.append("The store has no pitch stream, so that no pitch contour is drawn.")
    return notes
