"""A finished run on damaged copies of its test clips: ingest and extraction as everywhere, then the run's own models.

The copies are written as files below a temporary folder, with a store of their own beside them, a round of at most
`SCRATCH_BYTES` of audio at a time. So workers, time limits and quarantine are those of every extraction, and nothing of
it stays, however it ends. The clean condition goes the same way, which shows that the way itself changes nothing.
"""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from features.needed import ensure_weights, needed_weights
from features.registry import load_extractor, spec_for
from flows.originals import find_originals, recordings_below
from pipeline.conditions import Condition, make_conditions
from pipeline.damaged import Job, Original, rounds, write_copies
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.limits import DEFAULT_LIMIT, TimeLimit
from pipeline.locations import Location, folder_of
from pipeline.plan import plan_extraction
from storage_schema.errors import InputError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.store import Store, open_store
from storage_schema.streams import StreamSpec
from training.memory import default_memory
from training.report import write_report
from training.robustness.document import ROBUSTNESS, LeftOut, RobustnessResult
from training.robustness.judge import (
    Probabilities,
    Subset,
    choose_clips,
    difference_to_run,
    make_scores,
    ordered_subsets,
    score_copies,
)
from training.run import FinishedRun, open_finished, read_result

SCRATCH_BYTES = 2**30
"""Of damaged audio on disk at a time. A single copy that is larger is written all the same."""

_UNKNOWN_S, _LIKELY_RATE_HZ = 10.0, 48_000
"""A clip whose header tells no length, and the rate of any, where copies are cut into rounds."""


@dataclass(frozen=True)
class _Copy:
    """A copy to make: of the chosen clip at `place`, under the condition at `number`."""

    place: int
    number: int

    @property
    def uri(self) -> str:
        return f"{self.number}/{self.place}.wav"


@dataclass
class _Outcome:
    """What the rounds have gathered.

    heard: (n_conditions, n_clips, n_subsets, n_labels) probabilities, NaN where there is no copy.
    """

    heard: Probabilities
    problems: dict[_Copy, str]
    audio_s: float = 0.0


def measure_robustness(
    store: Store,
    run_id: str,
    *,
    n_clips: int,
    noise: Location | None = None,
    seed: int = 0,
    n_workers: int | None = None,
    memory_bytes: int | None = None,
    limit: TimeLimit = DEFAULT_LIMIT,
    scratch_bytes: int = SCRATCH_BYTES,
    on_progress: OnProgress = no_progress,
) -> RobustnessResult:
    """What is left of the run's scores on damaged copies of (at most `n_clips`) test clips, subset by subset.

    noise: a folder of recordings to mix in. By default a clip is mixed with one that its fold's models have learned
    from, of another source and with none of the clip's labels. The same seed gives the same copies.
    Raises InputError where the run has no test clips, none of them can be read any more, the folder has no recordings,
    or this version of timbrel makes other features than the run's; StoreError for a run that is missing or damaged.
    """
    started = time.monotonic()
    noises = None if noise is None else recordings_below(noise)
    run = open_finished(store, run_id, on_progress=on_progress, memory_bytes=memory_bytes)
    specs = list(run.models[0].specs.values())
    _check_extractable(specs)
    subsets = ordered_subsets(tuple(run.models[0].specs))
    clips = choose_clips(run.corpus.folds, n_clips, seed)
    originals = find_originals(store, run, clips, noises, seed)
    conditions = make_conditions(with_noise=any(original.noises for original in originals))
    shape = (len(conditions), len(clips), len(subsets), len(run.corpus.labels))
    outcome = _Outcome(np.full(shape, np.nan, np.float32), {})
    todo = [_Copy(place, number) for place in range(len(clips)) for number in range(len(conditions))]
    cuts = rounds([_copy_bytes(run, int(clips[copy.place])) for copy in todo], scratch_bytes)
    for done, (start, stop) in enumerate(cuts):
        show = _named(on_progress, done, len(cuts))
        with TemporaryDirectory(prefix="timbrel-") as scratch:
            folder = Path(scratch, "audio")
            made = _write(folder, todo[start:stop], originals, conditions, seed, n_workers, outcome, show)
            if not made:
                continue
            copied = open_store(Path(scratch, "store"), create=True)
            ingest(copied, "folder", folder, dataset="copies")
            plan = plan_extraction(copied.snapshot(), specs)
            outcome.audio_s += run_extraction(copied, plan, n_workers=n_workers, limit=limit, on_progress=show).audio_s
            _score(copied, folder, made, run, clips, subsets, memory_bytes, outcome)
    if np.isnan(outcome.heard[0]).all():
        raise _nothing_heard(run, clips, outcome)
    on_progress("intervals", 0, 1)
    names = [condition.name for condition in conditions]
    targets, task = run.corpus.targets[clips], run.corpus.task
    scores = make_scores(task, targets, names, subsets, outcome.heard, run.result.provenance.seed)
    on_progress("intervals", 1, 1)
    return RobustnessResult(
        run_id=run_id,
        dataset=run.result.dataset,
        snapshot=run.snapshot.id,
        headline=run.result.headline,
        conditions=tuple(names),
        subsets=tuple(subsets),
        n_test=sum(len(fold.test) for fold in run.corpus.folds),
        n_clips=len(clips),
        seed=seed,
        noise=_noise_in_words(noise, conditions),
        scores=scores,
        left_out=_left_out(run, clips, names, outcome),
        largest_difference=difference_to_run(store, run, clips, outcome.heard[0, :, 0]),
        audio_s=outcome.audio_s,
        elapsed_s=time.monotonic() - started,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def keep_robustness(store: Store, found: RobustnessResult) -> str:
    """Write a measurement into its run, in place of an older one, and the report anew; where the report lies."""
    with store.open_run(found.run_id) as folder:
        result = read_result(folder)
    store.add_to_run(found.run_id, ROBUSTNESS, found.model_dump_json(indent=2).encode())
    return write_report(store, result)


def _check_extractable(specs: Sequence[StreamSpec]) -> None:
    """Raise InputError now, and not after minutes, where the run's features cannot be made here."""
    for spec in specs:
        if spec_for(spec.stream, spec.parameters).fingerprint != spec.fingerprint:
            load_extractor(spec)  # which refuses, and says why
        for name in needed_weights(spec):
            ensure_weights(name)


def _copy_bytes(run: FinishedRun, clip: int) -> int:
    length_s = run.corpus.examples[clip].duration_s
    return round((_UNKNOWN_S if length_s is None else length_s) * _LIKELY_RATE_HZ) * 4


def _named(on_progress: OnProgress, done: int, n_rounds: int) -> OnProgress:
    """Progress of one round; which one is said where there are several."""
    if n_rounds == 1:
        return on_progress
    return lambda what, n, total: on_progress(f"{done + 1} of {n_rounds}, {what}", n, total)


def _write(
    folder: Path,
    copies: Sequence[_Copy],
    originals: Sequence[Original],
    conditions: Sequence[Condition],
    seed: int,
    n_workers: int | None,
    outcome: _Outcome,
    on_progress: OnProgress,
) -> list[_Copy]:
    """The copies that could be made, as files below `folder`; the others are told to `outcome`."""
    jobs, of_job = [], []
    for place, group in groupby(copies, key=lambda copy: copy.place):
        own = list(group)
        jobs.append(Job(originals[place], [(conditions[copy.number], folder / copy.uri) for copy in own]))
        of_job.append(own)
    made = []
    problems = write_copies(jobs, seed, n_workers or os.cpu_count() or 1, on_progress)
    for copy, problem in zip(chain.from_iterable(of_job), chain.from_iterable(problems), strict=True):
        if problem is None:
            made.append(copy)
        else:
            outcome.problems[copy] = problem
    return made


def _score(
    copied: Store,
    folder: Path,
    copies: Sequence[_Copy],
    run: FinishedRun,
    clips: NDArray[np.int64],
    subsets: Sequence[Subset],
    memory_bytes: int | None,
    outcome: _Outcome,
) -> None:
    """What the run's models hear in the copies, and what kept any of them from being heard, into `outcome`."""
    state = copied.snapshot()
    problems: dict[str, str] = {}
    for row in state.problems().to_pylist():
        what = row["message"].replace(str(folder / row["uri"]), "the copy")
        problems.setdefault(row["uri"], f"{row['stream'] or 'ingest'}, {row['kind']}: {what}")
    ids = dict(zip(state.clips["uri"].to_pylist(), state.clips["clip_id"].to_pylist(), strict=True))
    heard = [copy for copy in copies if copy.uri not in problems]
    outcome.problems |= {copy: problems[copy.uri] for copy in copies if copy.uri in problems}
    if not heard:
        return
    readers = {stream: state.stream(stream, spec.fingerprint) for stream, spec in run.models[0].specs.items()}
    places, numbers = ([getattr(copy, name) for copy in heard] for name in ("place", "number"))
    found = score_copies(
        run,
        readers,
        clips[places],
        [ids[copy.uri] for copy in heard],
        subsets,
        default_memory() if memory_bytes is None else memory_bytes,
    )
    outcome.heard[numbers, places] = found


def _left_out(
    run: FinishedRun, clips: NDArray[np.int64], names: Sequence[str], outcome: _Outcome
) -> tuple[LeftOut, ...]:
    """What could not be heard, clip by clip; a clip of which there is no copy at all is said once."""
    by_place: dict[int, dict[int, str]] = defaultdict(dict)
    for copy, problem in outcome.problems.items():
        by_place[copy.place][copy.number] = problem
    found = []
    for place, problems in sorted(by_place.items()):
        uri = run.corpus.examples[int(clips[place])].uri
        if len(problems) == len(names) and len(set(problems.values())) == 1:
            found.append(LeftOut(uri=uri, condition=None, reason=problems[0]))
        else:
            found += [LeftOut(uri=uri, condition=names[i], reason=problems[i]) for i in sorted(problems)]
    return tuple(found)


def _nothing_heard(run: FinishedRun, clips: NDArray[np.int64], outcome: _Outcome) -> InputError:
    reason = next(iter(outcome.problems.values()), "there is no copy of it")
    return InputError(
        f"none of the {len(clips)} test clips of run {run.result.run_id} can be heard again; the first: {reason}. "
        "Put the recordings back, or `timbrel ingest` them from where they are now"
    )


def _noise_in_words(noise: Location | None, conditions: Sequence[Condition]) -> str:
    if not any(condition.needs_noise for condition in conditions):
        return "none: no clip that was learned from is without a test clip's labels; name a folder with --noise"
    if noise is not None:
        return f"recordings of the folder {folder_of(noise).rpartition('/')[2]}"
    return "clips of other classes that the models have learned from"
