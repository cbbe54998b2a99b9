"""What happens in a worker process around a batch: one thread, one batch at a time, one version of timbrel.

A worker may be any process that Dask was given, started by anybody, so that nothing is taken for granted here.
"""

import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import ParamSpec, TypeVar

from storage_schema.errors import InputError
from storage_schema.heap import keep_freed_memory

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_turn = threading.Lock()
"""Extractors are loaded once a process and are not made for two threads, nor is the watchdog."""


def run_on_worker(wanted_version: str, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """`work` with these arguments, in a process that may have joined a moment ago.

    Raises InputError where this process has another version of timbrel, whose numbers may be others.
    """
    own = timbrel_version()
    if own != wanted_version:
        raise InputError(f"a worker has timbrel {own}, this one is {wanted_version}; install {wanted_version} there")
    _use_one_thread()
    keep_freed_memory()
    with _turn:
        return work(*arguments, **named)


@cache
def timbrel_version() -> str:
    """The version of timbrel that this process would run."""
    try:
        return version("timbrel")
    except PackageNotFoundError:
        return "without a version"


@cache
def _use_one_thread() -> None:
    """Hold torch, OpenMP and BLAS to one thread: as many workers as cores, and threads in each, would only queue up."""
    for name in _THREADS:
        os.environ[name] = "1"  # for what is yet to be loaded
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
