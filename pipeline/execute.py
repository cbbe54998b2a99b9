"""Run batches on Dask and hand back their receipts as they come.

Dask gets a bounded number of batches at a time (`pipeline.governor`), because a scheduler that holds a million of them
is slow and a killed run should lose little. When a worker dies, whatever waited on it is under suspicion too: a batch
is cut in halves until a clip stands alone, and is blamed only if a worker dies of it while nothing else runs. A worker
dies by its own doing, by Dask's, where it takes nearly all of its share of memory, or by the watchdog's
(`pipeline.limits`).
"""

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from pipeline.batches import Batch
from pipeline.cluster import governor_of
from pipeline.extract import extract_batch
from pipeline.governor import LOOK_EVERY_S, Governor
from pipeline.limits import DEFAULT_LIMIT, TimeLimit
from pipeline.worker import run_on_worker, timbrel_version
from storage_schema.errors import FailureKind, UnreachableError
from storage_schema.tables import ExtractionRow


@dataclass(frozen=True)
class Receipt:
    """A finished batch: one row a clip of it."""

    batch: Batch
    rows: Sequence[ExtractionRow]


@dataclass(frozen=True)
class _Try:
    """A batch in flight: whether nothing else is, and since when by the monotonic clock."""

    batch: Batch
    is_alone: bool
    since_s: float


def execute(
    client: Client,
    store_uri: str,
    batches: Iterable[Batch],
    limit: TimeLimit = DEFAULT_LIMIT,
    governor: Governor | None = None,
    resource: str | None = None,
) -> Generator[Receipt, None, None]:
    """Run all batches on the cluster behind `client`; at least one receipt a batch, in the order they finish.

    `batches` is drawn from as workers become free. governor: the one that all executions on this cluster share; by
    default there is no other. resource: the Dask resource that a worker must offer to be given any of these batches.
    Leaving the loop early, or stopping the governor, cancels what is still waiting. Raises what `extract_batch` raises
    for a broken store, and UnreachableError where the scheduler goes away.
    """
    run = _Run(client, store_uri, iter(batches), limit, governor or governor_of(client), resource)
    with run.seat:
        try:
            while run.submit_more():
                receipt = run.next_receipt()
                if receipt is not None:
                    yield receipt
        finally:
            client.cancel(list(run.tries))


class _Run:
    """What `execute` has in hand: batches to come, pieces of those that went wrong, and what is in flight."""

    def __init__(
        self,
        client: Client,
        store_uri: str,
        fresh: Iterator[Batch],
        limit: TimeLimit,
        governor: Governor,
        resource: str | None,
    ) -> None:
        self._client, self._store_uri, self._fresh, self._limit = client, store_uri, fresh, limit
        self._governor, self._resources = governor, {resource: 1} if resource else None
        self._is_drawn_up = False
        self._pieces: list[Batch] = []  # of batches whose worker died, or too large for workers short of memory
        self._suspects: list[Batch] = []  # single clips whose worker died, to be tried once more with nothing beside
        self._finished: SimpleQueue[Future[list[ExtractionRow]] | None] = SimpleQueue()
        self.tries: dict[Future[list[ExtractionRow]], _Try] = {}
        self.seat = governor.join(lambda: self._finished.put(None), resource)

    def submit_more(self) -> bool:
        """Submit what may be; whether anything is still to come."""
        while (self._pieces or not self._is_drawn_up) and self.seat.take():
            batch = self._next_batch()
            if batch is None:
                self.seat.give_back()
            else:
                self._submit(batch, alone=False)
        is_left = bool(self.tries or self._pieces or not self._is_drawn_up)
        if self._suspects and not is_left and self.seat.take_alone():
            self._submit(self._suspects.pop(), alone=True)
        return (is_left or bool(self._suspects or self.tries)) and not self._governor.is_stopped

    def next_receipt(self) -> Receipt | None:
        """The next batch that ends well, or None where it is time to submit: something else happened, or nothing."""
        try:
            future = self._finished.get(timeout=LOOK_EVERY_S)
        except Empty:
            return None  # perhaps a worker has joined
        this = self.tries.pop(future, None) if future is not None else None
        if future is None or this is None:
            return None
        self.seat.give_back()
        batch, took_s = this.batch, time.monotonic() - this.since_s
        took_too_long = took_s >= self._limit.of_clips(batch.clips)
        try:
            rows = future.result()
            future.release()  # else Dask would compute it again, should the worker that holds it die meanwhile
            return Receipt(batch, rows)
        except KilledWorker:
            if len(batch.clips) == 1 and this.is_alone:
                return Receipt(batch, [_too_slow(batch, took_s) if took_too_long else _killer(batch)])
            if len(batch.clips) == 1:
                self._suspects.append(batch)
            else:
                self._pieces.extend(batch.singles() if took_too_long else batch.halves())
            return None
        except CancelledError as error:
            raise UnreachableError(
                "the Dask scheduler went away in mid-run; what was committed stays, and the same command does the rest "
                "once it is back"
            ) from error

    def _next_batch(self) -> Batch | None:
        if not self._pieces:
            batch = next(self._fresh, None)
            self._is_drawn_up = batch is None
            if batch is not None:
                self._pieces.extend(reversed(_cut(batch, self._governor.batch_share)))
        return self._pieces.pop() if self._pieces else None

    def _submit(self, batch: Batch, *, alone: bool) -> None:
        future = self._client.submit(
            run_on_worker,
            timbrel_version(),
            extract_batch,
            self._store_uri,
            batch,
            self._limit,
            key=f"{batch.spec.stream}-{uuid4().hex}",  # Dask's own page names the streams then
            pure=False,
            resources=self._resources,
        )
        self.tries[future] = _Try(batch, alone, time.monotonic())
        future.add_done_callback(self._finished.put)


def _cut(batch: Batch, share: float) -> list[Batch]:
    """The batch in pieces of about `share` of it, by halves; a clip is never cut."""
    if share >= 1 or len(batch.clips) == 1:
        return [batch]
    return [piece for half in batch.halves() for piece in _cut(half, 2 * share)]


def _killer(batch: Batch) -> ExtractionRow:
    """The row of the one clip that took its worker process down."""
    return _failed(
        batch,
        "crashed",
        f"{batch.spec.extractor} took its worker process down, or needed more memory than there is; "
        "report it with the file",
    )


def _too_slow(batch: Batch, took_s: float) -> ExtractionRow:
    """The row of the one clip whose worker process had to be ended."""
    return _failed(
        batch,
        "timeout",
        f"{batch.spec.extractor} was ended after {took_s:.0f} s; "
        "`timbrel quarantine retry --time-limit` gives it longer, if it does not hang",
    )


def _failed(batch: Batch, kind: FailureKind, what: str) -> ExtractionRow:
    (clip,) = batch.clips
    return ExtractionRow.failed(
        clip.clip_id,
        batch.spec.stream,
        batch.spec.fingerprint,
        stage="extract",
        kind=kind,
        message=f"{clip.paths[0]}: {what}",
    )
