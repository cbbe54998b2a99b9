"""A plan, carried out: batches through Dask, receipts into the catalogue, a report at the end."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain

from features.needed import ensure_weights, needed_weights
from pipeline.batches import BATCH_S, count_batches, cut_batches
from pipeline.commit import commit_receipts
from pipeline.execute import execute, local_cluster
from pipeline.limits import DEFAULT_LIMIT, TimeLimit
from pipeline.plan import ExtractionPlan
from storage_schema.progress import OnProgress, no_progress
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


def run_extraction(
    store: Store,
    plan: ExtractionPlan,
    *,
    n_workers: int | None = None,
    batch_s: float = BATCH_S,
    limit: TimeLimit = DEFAULT_LIMIT,
    on_progress: OnProgress = no_progress,
) -> ExtractionReport:
    """Extract all that `plan` wants, on `n_workers` processes (by default one a core).

    limit: how long a clip may take before its worker is ended and it is called a failure.
    Interrupting it keeps what has been committed, at most some seconds short of what was done. Nothing is started where
    the plan wants nothing.
    """
    started = time.monotonic()
    n_ok, n_failed = ({stream.spec.stream: 0 for stream in plan.streams} for _ in range(2))
    n_quarantined = {stream.spec.stream: stream.n_quarantined for stream in plan.streams}
    plan, n_adopted = _adopt(store, plan)
    if not plan.n_wanted:
        return ExtractionReport(n_ok, n_failed, n_quarantined, 0.0, time.monotonic() - started, n_adopted)

    fetch_weights(plan, on_progress)
    totals = {stream.spec.stream: stream.n_wanted for stream in plan.streams if stream.n_wanted}
    for name, total in totals.items():
        on_progress(name, 0, total)
    n_batches = sum(count_batches(stream, batch_s) for stream in plan.streams)
    batches = chain.from_iterable(cut_batches(stream, batch_s) for stream in plan.streams)
    heard: set[str] = set()
    audio_s = 0.0
    with local_cluster(min(n_workers or os.cpu_count() or 1, n_batches)) as client:
        for receipt in commit_receipts(store, execute(client, store.uri, batches, limit)):
            name = receipt.batch.spec.stream
            count = Counter(row.status for row in receipt.rows)
            n_ok[name] += count["ok"]
            n_failed[name] += count["failed"]
            audio_s += sum(row.audio_s or 0.0 for row in receipt.rows if row.clip_id not in heard)
            heard |= {row.clip_id for row in receipt.rows if row.audio_s is not None}
            on_progress(name, n_ok[name] + n_failed[name], totals[name])
    return ExtractionReport(n_ok, n_failed, n_quarantined, audio_s, time.monotonic() - started, n_adopted)


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
