"""Run batches on Dask and hand back their receipts as they come. The only module that imports dask.

Dask gets a bounded number of batches at a time, because a scheduler that holds a million of them is slow and a killed
run should lose little. When a worker dies, whatever waited on it is under suspicion too: a batch is cut in halves until
a clip stands alone, and is blamed only if a worker dies of it while nothing else runs.
"""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from pipeline.batches import Batch
from pipeline.extract import extract_batch
from storage_schema.tables import ExtractionRow

_IN_FLIGHT_PER_WORKER = 2
"""One that is worked on, and one that waits, so that no worker ever does."""

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a batch that took its worker down is not tried again as it is
    "distributed.worker.daemon": True,
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


@contextmanager
def local_cluster(n_workers: int) -> Iterator[Client]:
    """A Dask cluster of `n_workers` single-threaded processes on this machine, bound to loopback, gone afterwards."""
    logging.getLogger("distributed").setLevel(logging.ERROR)  # silence_logs hushes its own handlers, not Prefect's
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def dask_setup(_worker: object) -> None:
    """Called by Dask in each worker process as it starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too, but the parent ends them
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what a batch raises is raised in the parent


def execute(client: Client, store_uri: str, batches: Sequence[Batch]) -> Iterator[Receipt]:
    """Run all batches on the cluster behind `client`; one receipt a batch, in the order they finish.

    Leaving the loop early cancels what is still waiting. Raises what `extract_batch` raises for a broken store.
    """
    waiting = list(reversed(batches))
    suspects: list[Batch] = []  # single clips whose worker died, each to be tried once more with nothing beside it
    n_in_flight = _IN_FLIGHT_PER_WORKER * max(1, len(client.scheduler_info()["workers"]))
    running = as_completed()
    of_future: dict[Future[list[ExtractionRow]], tuple[Batch, bool]] = {}  # with whether it runs alone

    def submit(batch: Batch, *, alone: bool) -> None:
        future = client.submit(extract_batch, store_uri, batch, pure=False)
        of_future[future] = batch, alone
        running.add(future)

    def submit_more() -> None:
        while waiting and len(of_future) < n_in_flight:
            submit(waiting.pop(), alone=False)
        if suspects and not of_future:
            submit(suspects.pop(), alone=True)

    try:
        submit_more()
        for future in running:
            batch, was_alone = of_future.pop(future)
            try:
                yield Receipt(batch, future.result())
            except KilledWorker:
                if len(batch.clips) > 1:
                    waiting.extend(batch.halves())
                elif was_alone:
                    yield Receipt(batch, [_killer(batch)])
                else:
                    suspects.append(batch)
            submit_more()
    finally:
        client.cancel(list(of_future))


def _killer(batch: Batch) -> ExtractionRow:
    """The row of the one clip that took its worker process down."""
    (clip,) = batch.clips
    message = f"{clip.paths[0]}: {batch.spec.extractor} took its worker process down; report it with the file"
    return ExtractionRow.failed(
        clip.clip_id, batch.spec.stream, batch.spec.fingerprint, stage="extract", kind="extractor", message=message
    )
