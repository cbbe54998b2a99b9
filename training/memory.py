"""How much memory features may take: what a person writes, and what this machine can spare.

A container is often allowed less than the machine has, so its control group is asked as well (both versions of them).
"""

import os
import re
from pathlib import Path

from storage_schema.errors import InputError

SHARE = 0.5
"""Of the free memory features may take this much by default; the rest is for the model and for everybody else."""

UNITS: dict[str, int] = {"": 1, "B": 1}
UNITS |= {f"{prefix}B": 1000**i for i, prefix in enumerate("KMGT", 1)}
UNITS |= {f"{prefix}IB": 1024**i for i, prefix in enumerate("KMGT", 1)}

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def parse_memory(text: str) -> int:
    """The bytes that a text such as `8GB`, `500 MB` or `2GiB` stands for. Raises InputError for any other."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Z]*)", text.strip().upper())
    unit = UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise InputError(f"{text!r} is no amount of memory; write it as 8GB, 500MB or 2GiB")
    n_bytes = round(float(found[1]) * unit)
    if n_bytes < 2**20:
        raise InputError(f"{text!r} is less than a megabyte, too little for a single clip; write it as 8GB or 500MB")
    return n_bytes


def default_memory() -> int:
    """Half of what is free, rounded down to a power of two, so that a machine mostly gives the same answer twice."""
    return 1 << max(20, int(free_memory() * SHARE).bit_length() - 1)


def free_memory() -> int:
    """Bytes that this process could still take: by the machine, and by each control group that it is in."""
    return max(0, min([_machine_bytes(), *_cgroup_bytes()]))


def _machine_bytes() -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # all there is; macOS does not say what is free


def _cgroup_bytes() -> list[int]:
    """What each limit on this process, its own group's and those above it, still leaves."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    left: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, used, cache = CGROUP, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used = CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                left += _left_in(folder, limit, used, cache)
    return left


def _left_in(folder: Path, limit: str, used: str, cache: str) -> list[int]:
    """The bytes that one group leaves; file cache counts as free, because the kernel gives it up when asked."""
    try:
        stat = re.search(rf"^{cache} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
        return [int((folder / limit).read_text()) - int((folder / used).read_text()) + (int(stat[1]) if stat else 0)]
    except (OSError, ValueError):  # no such group here, or "max", which is no limit
        return []
