import pytest

from training import clock as module
from training.clock import Clock


def test_time_inside_counts_once_for_the_innermost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    clock = Clock()
    with clock.during("fitting"):
        now += 1
        for _ in range(2):
            with clock.during("reading"):
                now += 10
        now += 100
    now += 1000
    with clock.during("fitting"):
        now += 10_000
    assert clock.seconds == {"fitting": 10_101, "reading": 20}


def test_time_before_an_error_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    clock = Clock()
    try:
        with clock.during("reading"):
            now += 2
            raise ValueError
    except ValueError:
        pass
    with clock.during("fitting"):
        now += 3
    assert clock.seconds == {"reading": 2, "fitting": 3}
