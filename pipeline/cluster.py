"""Where the workers are: processes on this machine, a running Dask cluster, or one that a settings file describes.

Whatever it is, the rest of timbrel holds an `OpenCluster` and knows no difference. Together with `pipeline.execute` the
only module that imports dask.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.deploy.cluster import Cluster

from pipeline.cluster_settings import ClusterSettings
from pipeline.governor import Governor, Workers
from storage_schema.errors import InputError, UnreachableError

CONNECT_S = 15.0
"""How long a scheduler may take to answer, and a running cluster to show its first worker."""

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
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms, for a page nobody opens
    "distributed.worker.preload": [__name__],  # for `dask_setup`
    "distributed.comm.timeouts.connect": "30s",
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.OPENBLAS_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.MKL_NUM_THREADS": 1,
}


@dataclass(frozen=True)
class OpenCluster:
    """A cluster that answers: its client, and what governs all that is submitted through it."""

    client: Client
    governor: Governor
    is_local: bool = True


@contextmanager
def open_cluster(settings: ClusterSettings, n_workers: int) -> Iterator[OpenCluster]:
    """The cluster that `settings` describe; `n_workers` is for the one on this machine alone.

    What was started here is gone at the end of the block, what was running before stays. Raises InputError where there
    is no such class or it refuses its arguments, UnreachableError where a scheduler does not answer or has no workers.
    """
    if settings.is_local:
        with local_cluster(n_workers) as client:
            yield OpenCluster(client, governor_of(client))
    elif settings.scheduler is not None:
        with _connected(settings.scheduler, CONNECT_S) as client:
            _wait_for_a_worker(client, settings.scheduler)
            yield OpenCluster(client, governor_of(client), is_local=False)
    else:
        with _quiet(), _made(settings) as cluster, Client(cluster, timeout=CONNECT_S) as client:
            n_coming = settings.maximum or settings.n_workers or 0
            yield OpenCluster(client, governor_of(client, n_coming), is_local=False)


def governor_of(client: Client, n_coming: int = 0) -> Governor:
    """A governor that sees the workers of `client`."""
    return Governor(lambda: _look(client), n_coming)


@contextmanager
def local_cluster(n_workers: int, memory_limit: str = "auto") -> Iterator[Client]:
    """A Dask cluster of `n_workers` single-threaded processes on this machine, bound to loopback, gone afterwards.

    memory_limit: what a worker may take before it is ended, such as "2 GB"; by default its share of this machine.
    """
    with _quiet(), dask.config.set(_SETTINGS), _started(n_workers, memory_limit) as cluster, Client(cluster) as client:
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
    """Called by Dask in each worker process of `local_cluster` as it starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too, but the parent ends them
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what a batch raises is raised in the parent


@contextmanager
def _quiet() -> Iterator[None]:
    # A worker that dies becomes rows here, and no news of Dask's; silence_logs hushes its own handlers, not Prefect's.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    yield


@contextmanager
def _connected(address: str, timeout_s: float) -> Iterator[Client]:
    """A client of the scheduler at `address`."""
    with _quiet(), dask.config.set({"distributed.comm.timeouts.connect": f"{timeout_s}s"}):
        try:
            client = Client(address, timeout=timeout_s)
        except (OSError, TimeoutError) as error:
            raise UnreachableError(
                f"no Dask scheduler answers at {address}; start one with `dask scheduler`, or correct --scheduler"
            ) from error
        except ValueError as error:
            raise InputError(
                f"{address} is no address of a Dask scheduler; write one as tcp://10.0.0.1:8786"
            ) from error
        with client:
            yield client


def _wait_for_a_worker(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        raise UnreachableError(
            f"the Dask scheduler at {address} has no workers; start some with `dask worker {address} --nthreads 1`"
        ) from error


@contextmanager
def _made(settings: ClusterSettings) -> Iterator[Cluster]:
    """The cluster of the settings' class, scaled as they say."""
    assert settings.class_name is not None
    make = _class(settings.class_name)
    try:
        cluster = make(**settings.arguments)
    except Exception as error:  # any class, which may raise anything
        raise InputError(
            f"{settings.class_name} cannot be made of [cluster.arguments]: {type(error).__name__}: {error}"
        ) from error
    with cluster:
        if settings.maximum is not None:
            cluster.adapt(minimum=settings.minimum, maximum=settings.maximum)
        elif settings.n_workers is not None:
            cluster.scale(settings.n_workers)
        yield cluster


def _class(name: str) -> Callable[..., Cluster]:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        package = module.partition(".")[0].replace("_", "-") or name
        raise InputError(
            f"there is no Dask cluster class {name} here ({error}); `pip install {package}`, or correct [cluster] class"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Cluster)):
        raise InputError(f"[cluster] class names {name}, which is no Dask cluster class")
    return found


def _look(client: Client) -> Workers:
    """What the scheduler says of its workers. One that does not answer has none."""
    try:
        workers = client.scheduler_info()["workers"].values()
    except (OSError, TimeoutError):
        return Workers(0)
    n_with: dict[str, int] = {}
    for worker in workers:
        for resource, amount in worker.get("resources", {}).items():
            n_with[resource] = n_with.get(resource, 0) + int(amount > 0)
    fullest = max((_fullness(worker) for worker in workers), default=0.0)
    return Workers(len(workers), n_with, fullest)


def _fullness(worker: Mapping[str, Any]) -> float:
    limit, used = worker.get("memory_limit") or 0, worker.get("metrics", {}).get("memory", 0)
    return used / limit if limit else 0.0
