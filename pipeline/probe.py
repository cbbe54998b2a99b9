"""Try a few clips of a plan, to learn what a stream costs that has no history: a small extraction, timed and discarded.

All workers are kept busy at the same time, because two busy cores slow each other down. What is made goes into
temporary stores, one a batch, so that no batch finds its part there already; the one that was planned for is not
touched.
"""

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from features.needed import ensure_weights, needed_weights
from pipeline.batches import BATCH_S, Batch, cut_batches
from pipeline.cluster import local_cluster
from pipeline.extract import extract_batch
from pipeline.plan import UNKNOWN_S, StreamPlan, WantedClip
from storage_schema.errors import InputError, TimbrelError
from storage_schema.layout import parts_key
from storage_schema.measured import Measured
from storage_schema.parts import METADATA
from storage_schema.progress import OnProgress, no_progress
from storage_schema.store import Store, open_store
from storage_schema.tables import ExtractionRow

LIMIT_S = 60.0
"""When a probe is given up; one of four streams that goes well takes some fifteen seconds, of which ten are work."""

_ROUNDS_S = (20.0, 80.0, BATCH_S)
"""Seconds of audio a worker in each round. They grow until a round is long enough to be timed well: a cheap stream is
then tried with a whole batch, so that what a batch costs once is not spread over too few clips."""

_ENOUGH_S = 1.0
"""A round in which the workers were busy that long is the last one."""

_FEWEST_CLIPS = 3
_MOST_CLIPS = 500
"""How many different clips are drawn at most, for all rounds and workers."""

_LONGEST_S = BATCH_S
"""A longer clip would take all of the probe's time; a second of it costs what a second of the others does."""


@dataclass(frozen=True)
class Probe:
    """What was learnt: the cost of each stream that could be tried, and in words why another could not.

    start_up_s: what an extraction spends besides its batches: workers, libraries and weights, and closing down.
    """

    measured: Mapping[str, Measured]
    problems: Mapping[str, str]
    start_up_s: float


def run_probe(
    streams: Sequence[StreamPlan], n_workers: int, *, limit_s: float = LIMIT_S, on_progress: OnProgress = no_progress
) -> Probe:
    """Extract some of the clips that `streams` want on `n_workers` processes, and say what that cost.

    Weights are fetched where they are missing. Whatever is wrong with a stream or its clips is a problem of that
    stream: nothing is raised for it, and with the weights at hand this ends some seconds after `limit_s` at the latest.
    """
    measured: dict[str, Measured] = {}
    problems = _fetch_weights(streams, on_progress)
    ready = [stream for stream in streams if stream.spec.stream not in problems]
    if not ready:
        return Probe(measured, problems, 0.0)
    started = time.monotonic()
    work_s = 0.0
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder, local_cluster(n_workers) as client:
        trial = _Trial(client, Path(folder), n_workers, time.monotonic() + limit_s)
        for stream in ready:
            name = stream.spec.stream
            on_progress(f"probing {name}", 0, 1)
            began, load_s = time.monotonic(), 0.0
            try:
                clips = _drawn_clips(stream)
                load_s = trial.load(stream, clips)
                measured[name] = trial.measure(stream, clips)
            except Exception as error:  # planning goes on, whatever its clips do to a worker
                problems[name] = _problem(error, limit_s)
            work_s += time.monotonic() - began - load_s
            on_progress(f"probing {name}", 1, 1)
    return Probe(measured, problems, time.monotonic() - started - work_s)


def _fetch_weights(streams: Sequence[StreamPlan], on_progress: OnProgress) -> dict[str, str]:
    """Have the weights in the cache, as extraction would; the streams whose weights cannot be had, with the reason."""
    problems: dict[str, str] = {}
    wanted = [(stream.spec.stream, name) for stream in streams for name in needed_weights(stream.spec)]
    for done, (stream_name, name) in enumerate(wanted, start=1):
        try:
            ensure_weights(name)
        except TimbrelError as error:
            problems[stream_name] = str(error)
        on_progress("weights", done, len(wanted))
    return problems


def _problem(error: Exception, limit_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"the probe was ended after {limit_s:.0f} s"
    if isinstance(error, TimbrelError):
        return str(error)
    name = type(error).__name__
    return "a clip took the probe's process down" if name == "KilledWorker" else f"the probe failed: {name}: {error}"


def _drawn_clips(stream: StreamPlan) -> list[WantedClip]:
    """Some of the clips, spread over all lengths, in an order in which any few of them are so as well."""
    step = -(-stream.n_wanted // _MOST_CLIPS)
    drawn = replace(stream, wanted=stream.wanted.take(np.arange(0, stream.n_wanted, step)))
    clips = [clip for batch in cut_batches(drawn) for clip in batch.clips if _length_s(clip) <= _LONGEST_S]
    if not clips:
        raise InputError(f"its clips are longer than {_LONGEST_S:.0f} s, too long to try one; extract a few")
    random.Random(0).shuffle(clips)
    return clips


@dataclass(frozen=True)
class _Tried:
    """A batch that was tried: the store its part went to, and its rows."""

    store: Store
    rows: Sequence[ExtractionRow]


@dataclass(frozen=True)
class _Trial:
    """The workers, where they write, and when they must be done (by `time.monotonic`)."""

    client: Any
    folder: Path
    n_workers: int
    deadline: float

    def load(self, stream: StreamPlan, clips: Sequence[WantedClip]) -> float:
        """Have every worker load the stream and warm up on one clip; the seconds that takes beside the clip's own."""
        started = time.monotonic()
        tried = self._run([Batch(stream.spec, (clips[0],))] * self.n_workers)
        return time.monotonic() - started - _elapsed_s(_ok_rows(tried)) / self.n_workers

    def measure(self, stream: StreamPlan, clips: Sequence[WantedClip]) -> Measured:
        """What the clips of the last round cost, those that failed left out."""
        mean_s = sum(map(_length_s, clips)) / len(clips)
        turn = cycle(clips)
        for round_s in _ROUNDS_S:
            n_clips = min(len(clips), max(_FEWEST_CLIPS, round(round_s / mean_s)))
            tried = self._run([Batch(stream.spec, tuple(islice(turn, n_clips))) for _ in range(self.n_workers)])
            ok = _ok_rows(tried)
            if _elapsed_s(ok) >= _ENOUGH_S * self.n_workers or n_clips == len(clips):
                break
        if not ok:
            raise InputError(f"none of the clips tried was extracted: {tried[0].rows[0].message}")
        return Measured(
            elapsed_s=_elapsed_s(ok),
            audio_s=_audio_s(ok),
            n_bytes=_n_bytes(tried, stream),
            n_clips=len(ok),
        )

    def _run(self, batches: Sequence[Batch]) -> list[_Tried]:
        """One batch a worker, all at the same time. Raises TimeoutError, and what Dask raises when a worker dies."""
        self.client.wait_for_workers(self.n_workers, timeout=self._left_s())  # one that died is being replaced
        workers = list(self.client.scheduler_info()["workers"])
        stores = [open_store(self.folder / uuid4().hex, create=True) for _ in batches]
        futures = [
            self.client.submit(extract_batch, store.uri, batch, workers=[worker], pure=False)
            for worker, store, batch in zip(workers, stores, batches, strict=True)
        ]
        try:
            rows = [future.result(timeout=self._left_s()) for future in futures]
        finally:
            self.client.cancel(futures)
        return [_Tried(*each) for each in zip(stores, rows, strict=True)]

    def _left_s(self) -> float:
        return max(0.001, self.deadline - time.monotonic())


def _length_s(clip: WantedClip) -> float:
    return clip.duration_s or UNKNOWN_S


def _ok_rows(tried: Sequence[_Tried]) -> list[ExtractionRow]:
    return [row for each in tried for row in each.rows if row.status == "ok"]


def _n_bytes(tried: Sequence[_Tried], stream: StreamPlan) -> float:
    """The bytes of what was tried as a share of the batches to come: a part describes itself once, of any length."""
    key = parts_key(stream.spec.stream, stream.spec.fingerprint)
    files = [path for each in tried for path in Path(each.store.uri, key).rglob("*") if path.is_file()]
    descriptions = sum(path.stat().st_size for path in files if path.name == METADATA)
    n_parts = _audio_s(_ok_rows(tried)) / min(BATCH_S, stream.audio_s or BATCH_S)
    return sum(path.stat().st_size for path in files) - descriptions + descriptions / len(tried) * n_parts


def _audio_s(rows: Sequence[ExtractionRow]) -> float:
    return sum(row.audio_s or 0.0 for row in rows)


def _elapsed_s(rows: Sequence[ExtractionRow]) -> float:
    return sum(row.elapsed_ms or 0.0 for row in rows) / 1000
