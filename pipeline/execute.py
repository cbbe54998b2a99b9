"""Run batches on Dask and hand back their receipts as they come. The only module that imports dask.

Dask gets a bounded number of batches at a time, because a scheduler that holds a million of them is slow and a killed
run should lose little. When a worker dies, whatever waited on it is under suspicion too: a batch is cut in halves until
a clip stands alone, and is blamed only if a worker dies of it while nothing else runs. A worker dies by its own doing,
by Dask's, where it takes nearly all of its share of memory, or by the watchdog's (`pipeline.limits`).
"""

import logging
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from pipeline.batches import Batch
from pipeline.extract import extract_batch
from pipeline.limits import DEFAULT_LIMIT, TimeLimit
from storage_schema.errors import FailureKind, InputError
from storage_schema.tables import ExtractionRow

_IN_FLIGHT_PER_WORKER = 2
"""One that is worked on, and one that waits, so that no worker ever does."""

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a batch that took its worker down is not tried again as it is
    "distributed.scheduler.worker-ttl": None,  # native code may keep a worker silent; the time limit ends it
    # Dask would give a worker up for good that is away at this moment and also died this long ago; ours may die often.
    "distributed.deploy.lost-worker-timeout": "365 days",
    "distributed.worker.daemon": True,
    # Dask would let a worker that is nearly full wait for room, forever if nothing in it is Dask's; let it run or die.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.preload": [__name__],  # for `dask_setup`
    "distributed.comm.timeouts.connect": "30s",
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.OPENBLAS_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.MKL_NUM_THREADS": 1,
}


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


@contextmanager
def local_cluster(n_workers: int, memory_limit: str = "auto") -> Iterator[Client]:
    """A Dask cluster of `n_workers` single-threaded processes on this machine, bound to loopback, gone afterwards.

    memory_limit: what a worker may take before it is ended, such as "2 GB"; by default its share of this machine.
    """
    # A worker that dies becomes rows here, and no news of Dask's; silence_logs hushes its own handlers, not Prefect's.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(_SETTINGS), _started(n_workers, memory_limit) as cluster, Client(cluster) as client:
        yield client


def _started(n_workers: int, memory_limit: str) -> LocalCluster:
    try:
        return LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=memory_limit,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:  # what Dask makes of a worker that dies before it has begun
        raise InputError(
            f"{n_workers} worker processes could not be started ({error}); see that there is memory for them, or ask "
            "for fewer with --workers, and run the same command again"
        ) from error


def dask_setup(_worker: object) -> None:
    """Called by Dask in each worker process as it starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too, but the parent ends them
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what a batch raises is raised in the parent


def execute(
    client: Client, store_uri: str, batches: Iterable[Batch], limit: TimeLimit = DEFAULT_LIMIT
) -> Iterator[Receipt]:
    """Run all batches on the cluster behind `client`; at least one receipt a batch, in the order they finish.

    `batches` is drawn from as workers become free. Leaving the loop early cancels what is still waiting. Raises what
    `extract_batch` raises for a broken store.
    """
    fresh = iter(batches)
    pieces: list[Batch] = []  # of batches whose worker died
    suspects: list[Batch] = []  # single clips whose worker died, each to be tried once more with nothing beside it
    n_in_flight = _IN_FLIGHT_PER_WORKER * max(1, len(client.scheduler_info()["workers"]))
    running = as_completed()
    tries: dict[Future[list[ExtractionRow]], _Try] = {}

    def submit(batch: Batch, *, alone: bool) -> None:
        future = client.submit(extract_batch, store_uri, batch, limit, pure=False)
        tries[future] = _Try(batch, alone, time.monotonic())
        running.add(future)

    def submit_more() -> None:
        while len(tries) < n_in_flight and (batch := pieces.pop() if pieces else next(fresh, None)):
            submit(batch, alone=False)
        if suspects and not tries:
            submit(suspects.pop(), alone=True)

    try:
        submit_more()
        for future in running:
            this = tries.pop(future)
            batch, took_s = this.batch, time.monotonic() - this.since_s
            took_too_long = took_s >= limit.of_clips(batch.clips)
            try:
                rows = future.result()
                future.release()  # else Dask would compute it again, should the worker that holds it die meanwhile
                yield Receipt(batch, rows)
            except KilledWorker:
                if len(batch.clips) > 1:
                    pieces.extend(batch.singles() if took_too_long else batch.halves())
                elif this.is_alone:
                    yield Receipt(batch, [_too_slow(batch, took_s) if took_too_long else _killer(batch)])
                else:
                    suspects.append(batch)
            submit_more()
    finally:
        client.cancel(list(tries))


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
