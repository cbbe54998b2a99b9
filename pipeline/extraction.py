"""A plan, carried out: batches through Dask, receipts into the catalogue, a report at the end."""

import os
import time
from collections import Counter
from dataclasses import dataclass

from features.weights import weight_path
from pipeline.batches import BATCH_S, cut_batches
from pipeline.commit import commit_receipts
from pipeline.execute import execute, local_cluster
from pipeline.plan import ExtractionPlan
from pipeline.progress import OnProgress, no_progress
from storage_schema.store import Store


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did: clips computed, failed and left alone by stream, wall seconds, and seconds of audio.

    `n_quarantined` counts the clips that failed before and were not tried again. A recording counts once in `audio_s`,
    however many streams were made of it.
    """

    n_ok: dict[str, int]
    n_failed: dict[str, int]
    n_quarantined: dict[str, int]
    audio_s: float
    elapsed_s: float

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
    on_progress: OnProgress = no_progress,
) -> ExtractionReport:
    """Extract all that `plan` wants, on `n_workers` processes (by default one a core).

    Interrupting it keeps what has been committed, at most some seconds short of what was done. Nothing is started where
    the plan wants nothing.
    """
    started = time.monotonic()
    n_ok, n_failed = ({stream.spec.stream: 0 for stream in plan.streams} for _ in range(2))
    n_quarantined = {stream.spec.stream: stream.n_quarantined for stream in plan.streams}
    audio_s: dict[str, float] = {}
    batches = [batch for stream in plan.streams for batch in cut_batches(stream, batch_s)]
    if not batches:
        return ExtractionReport(n_ok, n_failed, n_quarantined, 0.0, time.monotonic() - started)

    _fetch_weights(plan, on_progress)
    totals = {stream.spec.stream: len(stream.wanted) for stream in plan.streams if stream.wanted}
    for stream, total in totals.items():
        on_progress(stream, 0, total)
    n_workers = min(n_workers or os.cpu_count() or 1, len(batches))
    with local_cluster(n_workers) as client:
        for receipt in commit_receipts(store, execute(client, store.uri, batches)):
            stream = receipt.batch.spec.stream
            count = Counter(row.status for row in receipt.rows)
            n_ok[stream] += count["ok"]
            n_failed[stream] += count["failed"]
            audio_s |= {row.clip_id: row.audio_s for row in receipt.rows if row.audio_s is not None}
            on_progress(stream, n_ok[stream] + n_failed[stream], totals[stream])
    return ExtractionReport(n_ok, n_failed, n_quarantined, sum(audio_s.values()), time.monotonic() - started)


def _fetch_weights(plan: ExtractionPlan, on_progress: OnProgress) -> None:
    """Have all weights in the cache: once and here, where it shows, rather than by every worker at the same time."""
    names = sorted({name for stream in plan.streams if stream.wanted for name in stream.spec.weights})
    for done, name in enumerate(names, start=1):
        weight_path(name)
        on_progress("weights", done, len(names))
