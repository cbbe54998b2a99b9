"""A plan, carried out: batches through Dask, receipts into the catalogue, a report at the end.

The streams run side by side, each in a thread that its caller brings (`Extraction.run`), on one cluster that all share.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from features.needed import ensure_weights, needed_weights
from pipeline.batches import BATCH_S, count_batches, cut_batches
from pipeline.cluster import OpenCluster, open_cluster
from pipeline.cluster_settings import HERE, ClusterSettings
from pipeline.commit import commit_receipts
from pipeline.execute import Receipt, execute
from pipeline.limits import DEFAULT_LIMIT, TimeLimit
from pipeline.plan import ExtractionPlan
from pipeline.preflight import check_workers
from storage_schema.progress import OnProgress, OnStream, StreamProgress, no_progress, no_stream_progress
from storage_schema.store import Store


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did: clips computed, failed and left alone by stream, wall seconds, and seconds of audio.

    `n_quarantined` counts the clips that failed before and were not tried again, `n_adopted` those that an earlier run
    had computed and did not live to commit. A recording counts once in `audio_s`, however many streams were made of it.
    """

    n_ok: dict[str, int]
    n_failed: dict[str, int]
    n_quarantined: dict[str, int]
    audio_s: float
    elapsed_s: float
    n_adopted: dict[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every clip of the plan now has every stream."""
        return not any((*self.n_failed.values(), *self.n_quarantined.values()))


class Extraction:
    """A plan that is carried out, made by `start_extraction`; `run` may be called from several threads at once."""

    def __init__(
        self,
        store: Store,
        plan: ExtractionPlan,
        cluster: OpenCluster | None,
        *,
        settings: ClusterSettings,
        batch_s: float,
        limit: TimeLimit,
        n_adopted: dict[str, int],
        started: float,
    ) -> None:
        self._store, self._plan, self._cluster, self._settings = store, plan, cluster, settings
        self._batch_s, self._limit, self._n_adopted, self._started = batch_s, limit, n_adopted, started
        self._lock = threading.Lock()
        self._heard: set[str] = set()
        self._audio_s = 0.0
        names = [stream.spec.stream for stream in plan.streams]
        self._n_ok, self._n_failed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        self._has_begun: set[str] = set()

    @property
    def streams(self) -> list[str]:
        """The streams that want something; none where there is nothing to do."""
        return [stream.spec.stream for stream in self._plan.streams if stream.n_wanted]

    def run(self, stream: str, on_stream: OnStream = no_stream_progress) -> StreamProgress:
        """Extract all that is wanted of one stream, committing as it goes; called again, what is left of it."""
        (plan,) = (each for each in self._plan.streams if each.spec.stream == stream)
        n_total = plan.n_wanted
        if stream in self._has_begun:  # a second try
            plan = plan.without_done(self._store.snapshot().outstanding(stream, plan.spec.fingerprint)["clip_id"])
        self._has_begun.add(stream)
        started, audio_s = time.monotonic(), 0.0

        def state() -> StreamProgress:
            elapsed_s = time.monotonic() - started
            return StreamProgress(stream, self._n_ok[stream], self._n_failed[stream], n_total, audio_s, elapsed_s)

        on_stream(state())
        assert self._cluster is not None, "start_extraction opens one where anything is wanted"
        batches = cut_batches(plan, self._batch_s)
        client, governor, resource = self._cluster.client, self._cluster.governor, self._settings.resource_of(stream)
        with (
            closing(execute(client, self._store.uri, batches, self._limit, governor, resource)) as receipts,
            closing(commit_receipts(self._store, receipts)) as committed,
        ):
            for receipt in committed:
                count = Counter(row.status for row in receipt.rows)
                self._n_ok[stream] += count["ok"]
                self._n_failed[stream] += count["failed"]
                audio_s += sum(row.audio_s or 0.0 for row in receipt.rows)
                self._count_audio(receipt)
                on_stream(state())
        return state()

    def _count_audio(self, receipt: Receipt) -> None:
        with self._lock:
            self._audio_s += sum(row.audio_s or 0.0 for row in receipt.rows if row.clip_id not in self._heard)
            self._heard |= {row.clip_id for row in receipt.rows if row.audio_s is not None}

    def stop(self) -> None:
        """Have every `run` end as soon as it can, with what was received committed."""
        if self._cluster is not None:
            self._cluster.governor.stop()

    def report(self) -> ExtractionReport:
        """What was done until now."""
        n_quarantined = {stream.spec.stream: stream.n_quarantined for stream in self._plan.streams}
        elapsed_s = time.monotonic() - self._started
        return ExtractionReport(
            dict(self._n_ok), dict(self._n_failed), n_quarantined, self._audio_s, elapsed_s, self._n_adopted
        )


@contextmanager
def start_extraction(
    store: Store,
    plan: ExtractionPlan,
    *,
    cluster: ClusterSettings = HERE,
    n_workers: int | None = None,
    batch_s: float = BATCH_S,
    limit: TimeLimit = DEFAULT_LIMIT,
    on_progress: OnProgress = no_progress,
) -> Iterator[Extraction]:
    """Make everything ready for `plan`: parts of killed runs adopted, weights fetched, workers there and fit for it.

    Nothing is started where the plan wants nothing. Leaving the block, however it is left, stops what still runs.
    Raises what `open_cluster` and `check_workers` raise, before anything is written.
    """
    started = time.monotonic()
    plan, n_adopted = _adopt(store, plan)
    n_batches = sum(count_batches(stream, batch_s) for stream in plan.streams)
    make = partial(
        Extraction, store, plan, settings=cluster, batch_s=batch_s, limit=limit, n_adopted=n_adopted, started=started
    )
    if not n_batches:
        yield make(None)
        return
    fetch_weights(plan, on_progress)
    with open_cluster(cluster, min(n_workers or os.cpu_count() or 1, n_batches)) as opened:
        if not opened.is_local:
            check_workers(opened.client, store, plan, cluster)
        job = make(opened)
        try:
            yield job
        finally:
            job.stop()


def run_extraction(
    store: Store,
    plan: ExtractionPlan,
    *,
    cluster: ClusterSettings = HERE,
    n_workers: int | None = None,
    batch_s: float = BATCH_S,
    limit: TimeLimit = DEFAULT_LIMIT,
    on_progress: OnProgress = no_progress,
    on_stream: OnStream = no_stream_progress,
) -> ExtractionReport:
    """Extract all that `plan` wants, on `cluster`, by default `n_workers` processes here (as many as cores).

    limit: how long a clip may take before its worker is ended and it is called a failure. on_stream hears how far each
    stream is, from several threads; on_progress what comes before.
    Interrupting it keeps what has been committed, at most some seconds short of what was done.
    """
    ready = start_extraction(
        store, plan, cluster=cluster, n_workers=n_workers, batch_s=batch_s, limit=limit, on_progress=on_progress
    )
    with ready as job:
        if job.streams:
            _run_all(job, job.streams, on_stream)
        return job.report()


def _run_all(job: Extraction, streams: Iterable[str], on_stream: OnStream) -> None:
    """Every stream in a thread of its own; the first error, or Ctrl-C, ends them all once they have committed."""
    with ThreadPoolExecutor(thread_name_prefix="stream") as threads:
        runs = [threads.submit(job.run, stream, on_stream) for stream in streams]
        try:
            done, _ = wait(runs, return_when=FIRST_EXCEPTION)
            for run in done:
                run.result()
        finally:
            job.stop()


def _adopt(store: Store, plan: ExtractionPlan) -> tuple[ExtractionPlan, dict[str, int]]:
    """What is left of the plan once a killed run's whole parts are committed, and how many clips those held by stream.

    Rows whose part is lost go first, because a row that is good is never replaced.
    """
    streams, n_adopted = [], {}
    for stream in plan.streams:
        spec = stream.spec
        if stream.lost:
            store.requeue(spec.stream, spec.fingerprint, stream.lost)
        if stream.n_wanted and store.recover(spec):
            streams.append(stream.without_done(store.snapshot().outstanding(spec.stream, spec.fingerprint)["clip_id"]))
            n_adopted[spec.stream] = stream.n_wanted - streams[-1].n_wanted
        else:
            streams.append(stream)
    return replace(plan, streams=tuple(streams)), n_adopted


def fetch_weights(plan: ExtractionPlan, on_progress: OnProgress) -> None:
    """Have all weights in the cache: once and here, where it shows, rather than by every worker at the same time."""
    names = sorted({name for stream in plan.streams if stream.n_wanted for name in needed_weights(stream.spec)})
    for done, name in enumerate(names, start=1):
        ensure_weights(name)
        on_progress("weights", done, len(names))
