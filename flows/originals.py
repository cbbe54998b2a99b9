"""Which recordings are damaged, and which are mixed in: the test clips of a run with all places they may lie at.

Noise comes from a folder that somebody names, or from clips that the models of a fold have learned from. Test clips are
no noise: what a run was never meant to know of would sound in the background of what it is judged by.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.damaged import Original
from pipeline.ingest import list_clips
from pipeline.locations import Location, folder_of, join
from pipeline.perturb import generator_of
from storage_schema.store import Store
from training.run import FinishedRun
from training.splits import Fold

_NOISES_TRIED = 8
"""Recordings that are drawn for a clip; the first that can be read and is not silent is mixed in."""


def recordings_below(folder: Location) -> list[str]:
    """Every recording below a folder, in the order of their names. InputError where there is none."""
    root = folder_of(folder)
    return [join(root, clip.uri) for clip in list_clips("folder", folder) if clip.problem is None]


def find_originals(
    store: Store, run: FinishedRun, clips: NDArray[np.int64], noises: Sequence[str] | None, seed: int
) -> list[Original]:
    """The chosen clips, each with the places it may lie at, today's too, and recordings drawn to be mixed in."""
    places = _places(run.snapshot.clips, store.snapshot().clips)
    examples = run.corpus.examples
    own = frozenset(example.clip_id for example in examples)
    tested = {fold.number: frozenset(examples[i].clip_id for i in fold.test.tolist()) for fold in run.corpus.folds}
    originals = []
    for clip in clips.tolist():
        clip_id = examples[clip].clip_id
        generator = generator_of(clip_id, f"choice of noise, seed {seed}")
        if noises is not None:
            drawn = [noises[i] for i in _draw(len(noises), generator)]
            originals.append(Original(clip_id, places[clip_id], drawn, own))
            continue
        (fold,) = (fold for fold in run.corpus.folds if clip in fold.test)
        learned = _learned_without(run, fold, clip)
        drawn = [path for i in _draw(len(learned), generator) for path in places[examples[learned[i]].clip_id]]
        originals.append(Original(clip_id, places[clip_id], drawn, tested[fold.number]))
    return originals


def _places(*tables: pa.Table) -> Mapping[str, list[str]]:
    """Every path a clip was ever seen at, by clip_id."""
    found: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        columns = (table[name].to_pylist() for name in ("clip_id", "root", "uri"))
        for clip_id, root, uri in zip(*columns, strict=True):
            path = join(root, uri)
            if path not in found[clip_id]:
                found[clip_id].append(path)
    return found


def _learned_without(run: FinishedRun, fold: Fold, clip: int) -> NDArray[np.int64]:
    """What the models of `fold` have learned from and that carries none of the labels of `clip`."""
    learned = np.union1d(fold.train, fold.validation)
    shares_none = ~(run.corpus.targets[learned] * run.corpus.targets[clip]).any(axis=1)
    without: NDArray[np.int64] = learned[shares_none]
    return without


def _draw(n: int, generator: np.random.Generator) -> list[int]:
    drawn: list[int] = generator.choice(n, min(n, _NOISES_TRIED), replace=False).tolist() if n else []
    return drawn
