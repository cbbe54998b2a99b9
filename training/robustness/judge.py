"""From features of damaged copies to figures: every copy by the models that its clip was held out from.

What the run said of a clip, it says of its clean copy; the same windows are cut from every copy, because damage keeps a
clip's length and its place in time.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError
from storage_schema.reader import StreamReader
from storage_schema.store import Store
from training.attribution import all_subsets
from training.bootstrap import intervals, paired_difference
from training.exhibits.judged import read_judged
from training.judge import FUSION, score_clips
from training.loader import Chunk, FrameSource, Loader
from training.metrics import HEADLINE
from training.model import FoldModel, subset_probabilities
from training.recipe import Task
from training.robustness.document import ConditionScore
from training.robustness.headline import Counts, draw_counts, headline_draws
from training.run import FinishedRun
from training.splits import Fold

Subset = tuple[str, ...]
Probabilities = NDArray[np.float32]


def choose_clips(folds: Sequence[Fold], n_clips: int, seed: int) -> NDArray[np.int64]:
    """`n_clips` of the test clips, drawn at random with every fold's share of them; all where there are no more.

    Fold by fold, ascending within each.
    """
    sizes = np.array([len(fold.test) for fold in folds], np.int64)
    wanted = min(n_clips, int(sizes.sum()))
    if not wanted:
        raise InputError("the run has no test clips, so that there is nothing to damage; train with a split that has")
    exact = sizes * (wanted / sizes.sum())
    shares = np.floor(exact).astype(np.int64)
    rest = np.argsort(shares - exact, kind="stable")[: wanted - int(shares.sum())]  # the largest remainders
    shares[rest] += 1
    generator = np.random.default_rng(seed)
    drawn = [np.sort(generator.permutation(fold.test)[:share]) for fold, share in zip(folds, shares, strict=True)]
    return np.concatenate(drawn).astype(np.int64)


def ordered_subsets(streams: Subset) -> list[Subset]:
    """Every subset that hears something: all streams first, then fewer and fewer, in the recipe's order.

    Raises InputError for more streams than `training.attribution.MAX_STREAMS`.
    """
    return sorted((one for one in all_subsets(streams) if one), key=lambda one: -len(one))


def score_copies(
    run: FinishedRun,
    readers: Mapping[str, StreamReader],
    clips: NDArray[np.int64],
    copy_ids: Sequence[str],
    subsets: Sequence[Subset],
    memory_bytes: int,
) -> Probabilities:
    """What the fusion says of each copy when it hears only a subset, (n_copies, n_subsets, n_labels) in [0, 1].

    readers: the copies' features by stream. clips: (n_copies,) the clip of the run's corpus that each is a copy of.
    copy_ids: how the copies are called in `readers`. memory_bytes: what their features may take in memory.
    """
    sources = {name: FrameSource(reader, tuple(copy_ids), tuple(copy_ids)) for name, reader in readers.items()}
    loader = Loader(sources, memory_bytes)
    ticks = run.corpus.ticks[clips]
    found = np.full((len(clips), len(subsets), len(run.corpus.labels)), np.nan, np.float32)
    for fold, model in zip(run.corpus.folds, run.models, strict=True):
        own = np.flatnonzero(np.isin(clips, fold.test))
        if len(own):
            found[own] = loader.each(tuple(model.specs), own, partial(_ask, model, ticks, subsets))["heard"]
    return found


def _ask(
    model: FoldModel, ticks: NDArray[np.int64], subsets: Sequence[Subset], chunk: Chunk
) -> dict[str, Probabilities]:
    if len(model.specs) == 1:  # no fusion stands between the one stream and its score
        (alone,) = (score_clips(model, chunk.frames, chunk.clips, ticks)[stream] for stream in model.specs)
        return {"heard": alone[:, None]}
    return {"heard": np.moveaxis(subset_probabilities(model, chunk.frames, chunk.clips, ticks, subsets), 0, 1)}


def make_scores(
    task: Task,
    targets: NDArray[np.float32],
    conditions: Sequence[str],
    subsets: Sequence[Subset],
    heard: Probabilities,
    seed: int,
) -> tuple[ConditionScore, ...]:
    """The figure of every subset under every condition, with its paired difference to the first condition.

    targets: (n_clips, n_labels). heard: (n_conditions, n_clips, n_subsets, n_labels), NaN for a clip that has no copy.
    A difference is taken over the clips that have both copies.
    """
    metric = HEADLINE[task]
    is_there = ~np.isnan(heard[:, :, 0, 0])
    counts: dict[int, Counts] = {}
    scores = []
    for i, condition in enumerate(conditions):
        kept = is_there[0] & is_there[i]
        n_clips = int(kept.sum())
        if n_clips and n_clips not in counts:
            counts[n_clips] = draw_counts(n_clips, seed)
        for j, streams in enumerate(subsets):
            score = difference = None
            if n_clips:
                own, clean = (headline_draws(task, targets[kept], heard[k][kept, j], counts[n_clips]) for k in (i, 0))
                score = intervals(own).get(metric)
                difference = paired_difference(own, clean, metric) if i and score is not None else None
            scores.append(
                ConditionScore(
                    streams=streams, condition=condition, n_clips=n_clips, score=score, difference=difference
                )
            )
    return tuple(scores)


def difference_to_run(store: Store, run: FinishedRun, clips: NDArray[np.int64], heard: Probabilities) -> float | None:
    """The largest difference between `heard` (n_clips, n_labels) and what the run wrote of the same clips.

    None where its predictions cannot be read, or where nothing was heard; NaN in `heard` counts as no difference.
    """
    result = run.result
    streams = list(run.models[0].specs)
    try:
        with store.open_run(result.run_id) as folder:
            judged = read_judged(folder, FUSION if len(streams) > 1 else streams[0], result.labels)
    except StoreError:
        return None
    place = {clip_id: i for i, clip_id in enumerate(judged.clip_ids)}
    pairs = [(i, place[run.corpus.examples[clip].clip_id]) for i, clip in enumerate(clips.tolist())]
    own, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    apart = np.abs(heard[own] - judged.probabilities[theirs])
    return None if np.isnan(apart).all() else float(np.nanmax(apart))
