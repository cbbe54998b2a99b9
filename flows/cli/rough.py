"""How an estimate is worded: two digits at most, because more would claim what nobody knows."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.estimate import Estimate

_TIME_STEPS_S = ((60, 1), (600, 10), (3600, 60), (36_000, 600), (math.inf, 3600))
"""Below so many seconds, a time is rounded to so many."""

_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def rough_time(seconds: float) -> str:
    """`8 s`, `2 min 20 s`, `1 h 40 min`, `31 h`."""
    step_s = next(step for limit, step in _TIME_STEPS_S if seconds < limit)
    whole_s = round(seconds / step_s) * step_s
    hours, minutes, rest = whole_s // 3600, whole_s % 3600 // 60, whole_s % 60
    words = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(words) or ("under 1 s" if seconds else "0 s")


def rough_size(n_bytes: float) -> str:
    """`640 kB`, `35 MB`, `1.2 GB`."""
    unit = next((unit for unit in ("kB", "MB", "GB") if n_bytes < 999.5 * _UNITS[unit]), "TB")
    value = n_bytes / _UNITS[unit]
    if value >= 10:
        digits = 1 if value >= 99.5 else 0
        return f"{round(value, -digits):.0f} {unit}"
    return f"{value:.1f} {unit}" if value else "0 MB"


def costs_in_words(costs: "Estimate") -> str:
    """The total, what it is known from, and which streams are not in it and why."""
    known = [stream for stream in costs.streams if stream.source]
    unknown = "".join(f"; {each.stream} unknown: {each.problem}" for each in costs.streams if each.problem)
    if not known:
        return f"time and size are unknown{unknown}"
    workers = "1 worker" if costs.n_workers == 1 else f"{costs.n_workers} workers"
    probed = ", ".join(stream.stream for stream in known if stream.source == "probe")
    source = f"by trying a few clips of {probed}" if probed else "by what has been extracted before"
    return f"about {rough_time(costs.wall_s)} on {workers}, {rough_size(costs.n_bytes)}, {source}{unknown}"
