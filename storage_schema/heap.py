"""Memory that is freed stays with the process: large arrays that come and go are then not paged in anew each time.

By its defaults, and more so by those that Dask sets for its workers, glibc hands a freed array back to the kernel at
once, and the next one of that size costs a page fault every 4 kB: half of the time of an aiSFX batch.
"""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>

KEPT_BYTES = 256 * 2**20
"""How much free memory at the end of the heap stays."""

LARGEST_KEPT = 32 * 2**20
"""Larger arrays are handed back when they are freed; glibc allows no more on every version."""


@cache
def keep_freed_memory() -> None:
    """Set glibc's allocator so for this process, once; elsewhere (macOS, musl, Windows) nothing is done.

    See mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such way to look for one
        return
    mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
