"""The fits of a run side by side: this process and some others take jobs from one queue until it is empty.

Threads would share one random generator and one interpreter lock; two threads inside one small network gain a fifth. So
each worker is a process of its own, which opens the store by itself and reads the streams that its jobs ask for. An
outcome is the same whoever makes it, and a run's figures do not depend on how many there were, but for their last
digits where fewer processes leave more threads to each.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any

import torch
from lightning_fabric import Fabric

from storage_schema.errors import StoreError
from storage_schema.progress import OnProgress
from storage_schema.shelf import Shelf
from storage_schema.store import open_store
from training.corpus import Corpus, load_corpus
from training.fit import make_fabric
from training.jobs import FitJob, FitOutcome, run_job
from training.recipe import Recipe
from training.results import Provenance
from training.unfinished import Unfinished

LOOK_EVERY_S = 0.5
"""How often a waiting run looks whether its workers are alive."""


@dataclass(frozen=True)
class Opening:
    """All that another process needs to hold the same corpus."""

    store_uri: str
    recipe: Recipe
    fingerprints: dict[str, str]
    memory_bytes: int
    run_id: str
    provenance: Provenance
    n_threads: int


def run_jobs(
    jobs: Sequence[FitJob],
    corpus: Corpus,
    recipe: Recipe,
    fabric: Fabric,
    unfinished: Unfinished,
    *,
    n_workers: int,
    on_progress: OnProgress,
) -> dict[FitJob, FitOutcome]:
    """The outcome of every job, those that an earlier run left behind among them, the others kept as they come.

    n_workers: how many processes fit at the same time, this one among them; fewer where features take too much memory
    for as many, and one where there is a GPU. Raises InputError where a loss diverges, StoreError where a worker dies;
    what is finished by then is kept.
    """
    outcomes = {job: found for job in jobs if (found := unfinished.outcome(job)) is not None}
    # The longest first, so that nobody waits long at the end; how long is guessed by what a job has to hear.
    left = sorted((job for job in jobs if job not in outcomes), key=lambda job: -_weight(job, corpus))
    n_workers = min(n_workers, len(left), _room_for(corpus) if fabric.device.type == "cpu" else 1)
    if n_workers < 2:
        _read(corpus, on_progress)
        for job in left:
            outcomes[job] = _one(job, corpus, recipe, fabric, unfinished, on_progress)
        return outcomes
    n_threads = max(1, n_cores() // n_workers)
    torch.set_num_threads(n_threads)
    opening = Opening(
        unfinished.shelf.files.uri,
        recipe,
        {stream: spec.fingerprint for stream, spec in corpus.specs.items()},
        corpus.loader.limit_bytes,
        unfinished.run_id,
        unfinished.provenance,
        n_threads,
    )
    context = multiprocessing.get_context("spawn")
    tasks: Queue[FitJob | None] = context.Queue()
    news: Queue[tuple[str, Any]] = context.Queue()
    for item in [*left, *[None] * n_workers]:
        tasks.put(item)
    others = [context.Process(target=_work, args=(opening, tasks, news), daemon=True) for _ in range(n_workers - 1)]
    for process in others:
        process.start()
    try:
        _read(corpus, on_progress)  # while the others start
        listener = _Listener(news, others, outcomes, on_progress)
        while (task := listener.next_of(tasks)) is not None:
            outcomes[task] = _one(task, corpus, recipe, fabric, unfinished, listener.while_busy)
            listener.hear()
        while len(outcomes) < len(jobs):
            listener.hear(wait=True)
    finally:
        for process in others:
            process.terminate()
        for process in others:
            process.join()
    return outcomes


def _read(corpus: Corpus, on_progress: OnProgress) -> None:
    """Have all features in memory where they fit, so that what is wrong with them is said before anything is fitted."""
    loader = corpus.loader
    if loader.fits(loader.sources):
        on_progress("reading features", 0, 1)
        loader.hold(tuple(loader.sources))
        on_progress("reading features", 1, 1)


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass
class _Listener:
    """What this process hears of the others, between two epochs of its own or while it waits."""

    news: "Queue[tuple[str, Any]]"
    others: Sequence[BaseProcess]
    outcomes: dict[FitJob, FitOutcome]
    on_progress: OnProgress

    def while_busy(self, what: str, done: int, total: int) -> None:
        self.on_progress(what, done, total)
        self.hear()

    def next_of(self, tasks: "Queue[FitJob | None]") -> FitJob | None:
        """The next job; a worker that was killed with its hand on the queue is found out and not waited for."""
        while True:
            try:
                return tasks.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self.hear()

    def hear(self, *, wait: bool = False) -> None:
        while True:
            try:
                kind, value = self.news.get(timeout=LOOK_EVERY_S) if wait else self.news.get_nowait()
            except queue.Empty:
                break
            if kind == "progress":
                self.on_progress(*value)
            elif kind == "outcome":
                job, outcome = value
                self.outcomes[job] = outcome
                wait = False
            else:
                raise value
        for process in self.others:
            if process.exitcode not in (None, 0):
                raise StoreError(
                    f"a worker of the training ended by itself (exit code {process.exitcode}), probably for want of "
                    "memory; continue with --resume and fewer --workers"
                )


def _one(
    job: FitJob, corpus: Corpus, recipe: Recipe, fabric: Fabric, unfinished: Unfinished, on_progress: OnProgress
) -> FitOutcome:
    """Fit one job and keep what it gave."""

    def on_epoch(done: int, total: int) -> None:
        on_progress(job.what, done, total)

    on_epoch(0, recipe.fit.epochs)
    outcome = run_job(job, corpus, recipe, fabric, keeper=unfinished.keeper(job), on_epoch=on_epoch)
    unfinished.keep(job, outcome)
    return outcome


def _work(opening: Opening, tasks: "Queue[FitJob | None]", news: "Queue[tuple[str, Any]]") -> None:
    """What another process does: jobs until there are no more, and every word of it told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        recipe, store = opening.recipe, open_store(opening.store_uri)
        unfinished = Unfinished(Shelf(store.files, opening.run_id), opening.provenance)
        snapshot = store.snapshot(opening.provenance.snapshot)
        corpus = load_corpus(snapshot, recipe, fingerprints=opening.fingerprints, memory_bytes=opening.memory_bytes)
        fabric = make_fabric("cpu", opening.n_threads)
        while (job := tasks.get()) is not None:
            outcome = _one(job, corpus, recipe, fabric, unfinished, lambda *told: news.put(("progress", told)))
            news.put(("outcome", (job, outcome)))
    except Exception as error:  # told, and raised where somebody listens
        news.put(("error", error))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has been started by somebody"
    parent.join()
    os._exit(1)


def _weight(job: FitJob, corpus: Corpus) -> float:
    """How much a job has to hear: the bytes of its streams, a tenth more where it learns from validation clips too."""
    sizes = sum(float(corpus.loader.sources[stream].n_bytes.sum()) for stream in job.streams)
    return sizes * (1.1 if job.is_again else 1.0)


def _room_for(corpus: Corpus) -> int:
    """How many processes may hold all features at once; one where they are read chunk by chunk."""
    loader = corpus.loader
    if not loader.fits(loader.sources):
        return 1
    return int(loader.limit_bytes / max(1.0, sum(float(one.n_bytes.sum()) for one in loader.sources.values())))
