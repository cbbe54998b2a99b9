"""From a snapshot to what is learned from: which clips take part, their labels, and where their frames come from.

What it alone knows is how to be sure that nothing is missing: a clip without one of the streams stops the run, or is
left out and counted, but is never filled in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError
from storage_schema.reader import StreamReader
from storage_schema.snapshot import Snapshot
from storage_schema.streams import StreamSpec
from training.clap import Clap, find_clap
from training.loader import FrameSource, Loader
from training.memory import default_memory
from training.notes import copies_note, masked_notes, split_notes
from training.recipe import Recipe, Task
from training.splits import Example, Fold, infer_task, label_matrix, make_folds, merge_copies, read_examples
from training.windows import StreamFrames, clip_ticks


@dataclass(frozen=True)
class Corpus:
    """Everything that is learned from and judged on. Clips are indices into `examples`.

    targets: (n_clips, n_labels) float32 of 0 and 1. ticks: (n_clips,) int64 lengths in milliseconds.
    `n_left_out` counts the clips that the recipe let go for want of a stream; `notes` are what else must be known.
    `clap` is what the CLAP baselines go by, whether the recipe names that stream or not.
    """

    task: Task
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    targets: NDArray[np.float32]
    ticks: NDArray[np.int64]
    loader: Loader
    folds: tuple[Fold, ...]
    n_left_out: int
    notes: tuple[str, ...] = ()
    clap: Clap = field(default_factory=Clap)

    @property
    def specs(self) -> dict[str, StreamSpec]:
        return self.loader.specs

    @property
    def frames(self) -> dict[str, StreamFrames]:
        """Every stream of every clip. Raises InputError where the limit forbids that; `loader` goes chunk by chunk."""
        streams = tuple(self.loader.sources)
        if not self.loader.fits(streams):
            raise InputError("the features take more memory than they may; allow more with --memory")
        return self.loader.hold(streams)


def load_corpus(
    snapshot: Snapshot,
    recipe: Recipe,
    *,
    fingerprints: Mapping[str, str],
    labels: Sequence[str] | None = None,
    memory_bytes: int | None = None,
    clap: str | None = None,
) -> Corpus:
    """The clips and streams that `recipe` names; no features are read yet.

    fingerprints: the fingerprint wanted of each stream; the one extracted last where it is not named. labels: those
    of a model to be judged, in its order; taken from the clips otherwise. memory_bytes: what features may take, by
    default half of what is free. clap: the fingerprint of the embeddings that CLAP's baselines go by, those extracted
    last where it is not named.
    Raises InputError for an unknown dataset or label, a missing stream or feature, a leak between the sides of a split,
    and labels that do not fit the task or the model.
    """
    readable, n_unreadable = read_examples(snapshot.clips, recipe.data.dataset, recipe.data.labels)
    distinct = merge_copies(readable, recipe.split)
    readers = {stream: snapshot.stream(stream, fingerprints.get(stream)) for stream in recipe.data.streams}
    examples = covered_examples(distinct, n_unreadable, readers, recipe)
    task = infer_task(examples, recipe.task)
    folds = make_folds(examples, recipe.split, recipe.fit.seed)
    heard = sorted({label for example in examples for label in example.labels})
    known = tuple(heard if labels is None else labels)
    strangers = sorted(set(heard) - set(known))
    if strangers:
        raise InputError(
            f"the snapshot has the labels {', '.join(strangers[:5])}, which the model does not know; train it again"
        )
    if len(known) < 2 and task == "single_label":
        raise InputError(f"every clip of {recipe.data.dataset} is labelled {known}; a classifier needs two labels")
    clip_ids, uris = tuple(example.clip_id for example in examples), tuple(example.uri for example in examples)
    sources = {stream: FrameSource(reader, clip_ids, uris) for stream, reader in readers.items()}
    ticks = np.array([_ticks(example, i, sources) for i, example in enumerate(examples)], np.int64)
    loader = Loader(sources, default_memory() if memory_bytes is None else memory_bytes)
    n_left_out = len(distinct) + n_unreadable - len(examples)
    targets = label_matrix(examples, known)
    notes = copies_note(len(readable) - len(distinct))
    notes += masked_notes({stream: int(np.sum(source.n_frames == 0)) for stream, source in sources.items()})
    notes += split_notes(examples, folds, known, learns_validation=recipe.fit.refit)
    heard_by_clap = find_clap(snapshot, clip_ids, uris, known, loader, clap)
    return Corpus(task, known, tuple(examples), targets, ticks, loader, tuple(folds), n_left_out, notes, heard_by_clap)


def covered_examples(
    examples: Sequence[Example], n_unreadable: int, readers: Mapping[str, StreamReader], recipe: Recipe
) -> list[Example]:
    """The examples that have every stream, or any where the recipe masks what is missing.

    Raises InputError where some lack one and the recipe says nothing of it.
    """
    there = {stream: set(reader.clip_ids) for stream, reader in readers.items()}
    lacking = {
        stream: [example.uri for example in examples if example.clip_id not in clip_ids]
        for stream, clip_ids in there.items()
    }
    problems = [
        f"{len(uris)} of {len(examples)} clips have no {stream} features (such as {uris[0]})"
        for stream, uris in lacking.items()
        if uris
    ]
    if n_unreadable:
        problems.append(f"{n_unreadable} files could not be read at ingest")
    if recipe.data.missing == "mask":
        return _some_stream_each(examples, there, recipe)
    if problems and recipe.data.missing == "refuse":
        raise InputError(
            f"{'; '.join(problems)}. Run `timbrel extract --streams {','.join(recipe.data.streams)}`, see "
            '`timbrel status` for what failed, or write missing = "drop" in the recipe\'s [data] to leave the clips '
            'out, "mask" to use what they have'
        )
    kept = [example for example in examples if all(example.clip_id in clip_ids for clip_ids in there.values())]
    if not kept:
        raise InputError(f"no clip of {recipe.data.dataset} has all of {', '.join(there)}; {'; '.join(problems)}")
    return kept


def _some_stream_each(examples: Sequence[Example], there: Mapping[str, set[str]], recipe: Recipe) -> list[Example]:
    """The examples that have any of the streams. Raises InputError for a stream that none of them has."""
    for stream, clip_ids in there.items():
        if not any(example.clip_id in clip_ids for example in examples):
            raise InputError(
                f"no clip of {recipe.data.dataset} has the stream {stream}; extract it, or leave it out of the recipe"
            )
    return [example for example in examples if any(example.clip_id in clip_ids for clip_ids in there.values())]


def _ticks(example: Example, i: int, sources: Mapping[str, FrameSource]) -> int:
    """A clip's length: by its header, or up to its last frame in the stream that ends first.

    A damaged file may claim hours and decode to seconds: no clip is longer than its frames can have come from.
    """
    grids = [(source.spec.grid, int(source.n_frames[i])) for source in sources.values() if source.n_frames[i]]
    if example.duration_s is None:
        return clip_ticks(min(grid.centre_s(n_frames - 1) for grid, n_frames in grids))
    longest_s = min(n_frames * grid.hop / grid.sample_rate_hz for grid, n_frames in grids)
    return clip_ticks(min(example.duration_s, longest_s))
