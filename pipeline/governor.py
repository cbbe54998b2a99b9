"""How much is in flight, how large a batch is, and when a clip is tried alone: one governor for all on one cluster.

The streams of an extraction run side by side, each in a thread of its own, on the same workers. What each may do then
depends on what the others do, and only this knows of all of them. Pure but for the clock: what the cluster looks like
comes from a function, so that a test can make one up.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

IN_FLIGHT_PER_WORKER = 2
"""One that is worked on, and one that waits, so that no worker ever does."""

LOOK_EVERY_S = 1.0
"""How often the cluster is looked at: a worker that joins late is used from then on."""

_NEARLY_FULL, _ROOMY = 0.7, 0.45
"""Shares of a worker's memory from which on batches are made smaller, and below which larger again. Dask ends a worker
at 0.95."""

_SMALLEST = 1 / 16
"""Of a batch; below that, what a batch costs once outweighs what it does."""

_PATIENCE = 30
"""Looks in a row at roomy workers before batches grow again, so that they do not swing."""


@dataclass(frozen=True)
class Workers:
    """A cluster at one moment: its workers, how many of them offer each Dask resource, and the fullest one's memory.

    fullest: the share of its memory limit that the fullest worker takes, 0 where there is no limit.
    """

    n: int
    n_with: Mapping[str, int] = field(default_factory=dict)
    fullest: float = 0.0


class Governor:
    """Shared by all executions on one cluster; every method may be called from any thread.

    look: what the cluster looks like now. n_coming: workers that an adaptive cluster starts only for work that waits.
    """

    def __init__(self, look: Callable[[], Workers], n_coming: int = 0) -> None:
        self._look, self._n_coming = look, n_coming
        self._lock = threading.RLock()
        self._seats: list[Seat] = []
        self._alone: Seat | None = None
        self._looked_at = -1e9
        self._workers = Workers(0)
        self._share, self._n_roomy = 1.0, 0
        self._is_stopped = False

    def join(self, wake: Callable[[], None], resource: str | None = None) -> "Seat":
        """A seat for one execution, which asks before it submits. `wake` is called when asking again may help.

        resource: the Dask resource that its batches need, so that only workers which offer it count.
        """
        seat = Seat(self, wake, resource)
        with self._lock:
            self._seats.append(seat)
        return seat

    def stop(self) -> None:
        """Have every execution end as soon as it can, what it has received committed."""
        with self._lock:
            self._is_stopped = True
        self._wake_all()

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped

    @property
    def batch_share(self) -> float:
        """How large batches should be now: 1, or a half, a quarter, ... while a worker is short of memory."""
        with self._lock:
            self._glance()
            return self._share

    def _slots(self, resource: str | None) -> int:
        self._glance()
        n = self._workers.n if resource is None else self._workers.n_with.get(resource, 0)
        return IN_FLIGHT_PER_WORKER * max(1, n, self._n_coming)

    def _glance(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._workers, self._looked_at = self._look(), now
        if self._workers.fullest > _NEARLY_FULL:
            self._share, self._n_roomy = max(_SMALLEST, self._share / 2), 0
        elif self._workers.fullest < _ROOMY:
            self._n_roomy += 1
            if self._n_roomy >= _PATIENCE:
                self._share, self._n_roomy = min(1.0, 2 * self._share), 0

    def _wake_all(self) -> None:
        with self._lock:
            seats = list(self._seats)
        for seat in seats:
            seat.wake()


class Seat:
    """One execution's place at the governor; made by `Governor.join`, given up at the end of its `with` block."""

    def __init__(self, governor: Governor, wake: Callable[[], None], resource: str | None) -> None:
        self._governor, self.wake, self.resource = governor, wake, resource
        self._n_in_flight = 0
        self._has_only_suspects = False

    def __enter__(self) -> "Seat":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._governor._lock:
            self._governor._seats.remove(self)
            if self._governor._alone is self:
                self._governor._alone = None
        self._governor._wake_all()

    def take(self) -> bool:
        """Whether one more batch may be submitted; if so, it counts as in flight until `give_back`.

        Those with the same need share the slots evenly, and each has one at least.
        """
        governor = self._governor
        with governor._lock:
            if governor._alone is not None or governor._is_stopped:
                return False
            self._has_only_suspects = False
            peers = [seat for seat in governor._seats if seat.resource == self.resource]
            slots = governor._slots(self.resource)
            fair = -(-slots // len(peers))
            if self._n_in_flight and (self._n_in_flight >= fair or sum(seat._n_in_flight for seat in peers) >= slots):
                return False
            self._n_in_flight += 1
            return True

    def take_alone(self) -> bool:
        """Whether a batch may be submitted beside which nothing else runs, on the whole cluster.

        That is so once all others have ended, or wait for the same: nobody is held up by it who has other work.
        """
        governor = self._governor
        with governor._lock:
            self._has_only_suspects = True
            is_busy = any(seat._n_in_flight or not seat._has_only_suspects for seat in governor._seats)
            if governor._alone is not None or is_busy or governor._is_stopped:
                return False
            governor._alone = self
            self._n_in_flight = 1
            return True

    def give_back(self) -> None:
        """A batch is no longer in flight."""
        governor = self._governor
        with governor._lock:
            self._n_in_flight -= 1
            if governor._alone is self:
                governor._alone = None
        governor._wake_all()
