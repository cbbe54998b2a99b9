"""Where the time of a run goes: seconds of wall time, by what is being done."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Adds up what passes inside `during`; time inside an inner one counts there, and not for the outer one too."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = time.monotonic()

    @property
    def seconds(self) -> Mapping[str, float]:
        """So far, by name, in the order in which the names were first met."""
        return dict(self._seconds)

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        self._seconds.setdefault(what, 0.0)
        self._count()
        self._running.append(what)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def _count(self) -> None:
        """Give the time since the last change to whatever was innermost."""
        now = time.monotonic()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now
