"""Kill extractions at seeded random moments, and account for what each kill cost.

A *job* is one process group that extracts (`tests.stress.job`); a worker's death ends no job, its parent's does. A
*round* is one store from its first job to its last; where a job comes to its end before it is killed, a new round
begins, until there have been as many kills as were asked for.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from storage_schema import open_store

VICTIMS = ("worker", "committer", "group")
MOMENTS = ("start", "batch", "part", "commit")
"""What a kill waits for: nothing, a batch that begins, a part or a commit that appears; then a random while. The last
two can be watched on a disk only."""

ROOT = Path(__file__).parents[2]
"""Where a process has to start that runs a module of the tests."""

_WHILE_S = {"start": 3.0, "batch": 1.5, "part": 0.02, "commit": 0.02}
_LOOK_EVERY_S = 0.005
_PATIENCE_S = 120
GONE_WITHIN_S = 10
"""How soon all processes of a job have to be gone whose parent was killed."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL. Times are of the wall clock: `sent_at` just before it, `gone_at` when the victims were gone.

    `n_clips` were committed then; of the work in flight, `adopted` was taken over and `repeated` was done again
    later, both counted as clips of a stream; `n_in_flight` counts batches.
    """

    job: int
    victim: str
    moment: str
    after_s: float
    sent_at: float
    gone_at: float
    pids: frozenset[int]
    n_clips: int
    n_in_flight: int = 0
    n_adopted: int = 0
    n_repeated: int = 0


def disturb(
    new_store: Callable[[int], str], journals: Path, n_kills: int, seed: int, moments: Sequence[str] = MOMENTS
) -> tuple[list[Kill], list[str]]:
    """As many new stores as it takes, each extracted to its end, disturbed `n_kills` times in all."""
    rng = random.Random(seed)
    kills, stores = [], []
    while len(kills) < n_kills:
        stores.append(new_store(len(stores)))
        kills += _one_round(stores[-1], journals / f"journal-{len(stores)}", n_kills - len(kills), rng, moments)
    return kills, stores


def _one_round(store, journal, n_kills, rng, moments):
    journal.mkdir()
    kills, job, is_done = [], 0, False
    while not is_done:
        adopted = _adopted(store)
        with _job(store, journal / str(job)) as process:
            while len(kills) < n_kills and (kill := _kill(process, job, store, journal / str(job), rng, moments)):
                kills.append(kill)
                if kill.victim != "worker":
                    break
            code = process.wait(_PATIENCE_S)
        is_done = code == 0
        # A cluster whose worker is killed while it starts may give up; nothing else ends a job early.
        assert is_done or (kills and kills[-1].job == job), f"a job nobody killed ended with {code}"
        if _adopted(store) > adopted:
            before = max(i for i, kill in enumerate(kills) if kill.job < job)
            kills[before] = replace(kills[before], n_adopted=_adopted(store) - adopted)
        job += 1
    return _with_costs(kills, [read(journal / str(i)) for i in range(job)])


def _job(store, journal):
    with journal.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.stress.job", str(store), str(journal)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
        )


def _kill(process, job, store, journal, rng, moments):
    """Wait for a random moment and kill somebody; None where the job ended before."""
    victim, moment = rng.choice(VICTIMS), rng.choice(moments)
    while_s, pick = rng.uniform(0, _WHILE_S[moment]), rng.random()
    started, before = time.time(), _count(moment, store, journal)
    while moment != "start" and _count(moment, store, journal) == before:
        if process.poll() is not None:
            return None
        time.sleep(_LOOK_EVERY_S)
    time.sleep(while_s)
    group = _group(process.pid)
    workers = sorted(filter(_is_worker, group))
    if process.poll() is not None:
        return None
    if victim == "worker" and not workers:
        return _kill(process, job, store, journal, rng, moments)
    dying = {workers[int(pick * len(workers))]} if victim == "worker" else group
    sent_at = time.time()
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(min(dying) if victim == "worker" else process.pid, signal.SIGKILL)
    while any(map(_is_alive, dying)) if victim == "worker" else process.poll() is None or _group(process.pid):
        # Workers have to end by themselves when the process that commits is gone.
        assert time.time() < sent_at + GONE_WITHIN_S, f"{victim} killed, and processes of its job are still there"
        time.sleep(_LOOK_EVERY_S)
    return Kill(job, victim, moment, sent_at - started, sent_at, time.time(), frozenset(dying), _n_committed(store))


def _with_costs(kills, jobs):
    """The kills with what was in flight at each and what of it was done again.

    Work that was begun twice must have been in flight at a kill in between: begun before it and not received.
    """
    begun, received = {}, {}
    for job, events in enumerate(jobs):
        for event in events:
            times = begun if event["event"] == "begun" else received if event["event"] == "received" else {}
            for item in map(tuple, event.get("work", ())):
                times.setdefault(item, []).append((event["at"], job))
    repeated = [0] * len(kills)
    for item, times in begun.items():
        for (first, job), (again, _) in pairwise(times):
            guilty = [
                i
                for i, kill in enumerate(kills)
                if kill.job == job and first <= kill.gone_at and again >= kill.sent_at
                and not any(first <= at <= kill.sent_at for at, _ in received.get(item, ()))
            ]  # fmt: skip
            assert guilty, f"{item} was computed twice, and was in flight at no kill"
            repeated[guilty[-1]] += 1
    return [
        replace(kill, n_in_flight=_n_in_flight(kill, kills, jobs[kill.job]), n_repeated=repeated[i])
        for i, kill in enumerate(kills)
    ]


def _n_in_flight(kill, kills, events):
    """Batches begun and not yet received when a kill came, on workers that no earlier kill had ended."""
    dead = {pid for other in kills if other.job == kill.job and other.sent_at < kill.sent_at for pid in other.pids}
    waiting = {}
    for event in sorted(events, key=lambda event: event["at"]):
        if event["event"] == "begun" and event["at"] <= kill.gone_at and event["pid"] not in dead:
            waiting[frozenset(map(tuple, event["work"]))] = event["pid"]
        elif event["event"] == "received" and event["at"] <= kill.sent_at:
            waiting.pop(frozenset(map(tuple, event["work"])), None)
    return len(waiting)


def _count(moment, store, journal):
    """How many of what a kill may wait for there are."""
    if moment == "start":
        return 0
    if moment == "batch":
        return len(read(journal))
    pattern = "streams/*/*/parts/*" if moment == "part" else "extractions/**/*"
    return sum(1 for _ in Path(store).glob(pattern))


def read(journal):
    """The whole lines of a journal."""
    try:
        lines = journal.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _n_committed(store):
    return sum(entry.n_ok for entry in open_store(store).snapshot().coverage())


def _adopted(store):
    """Rows that were taken over from parts, which do not say how long they took."""
    rows = open_store(store).snapshot()._extractions("elapsed_ms", "status")
    return rows.filter(status="ok")["elapsed_ms"].null_count()


def _group(leader):
    """The processes of a session that are still alive."""
    return {pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _session(pid) == leader}


def _stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _session(pid):
    fields = _stat(pid)
    return int(fields[3]) if fields and fields[0] != "Z" else None


def _is_alive(pid):
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def _is_worker(pid):
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
