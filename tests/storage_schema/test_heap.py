"""Freed memory stays with the process, by the kernel's own count of page faults."""

import os
import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import numpy as np
from storage_schema.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(2**17, np.float64)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

as_dask_sets_it = faults()
keep_freed_memory()
keep_freed_memory()
print(as_dask_sets_it, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep what is freed")
def test_an_array_that_comes_and_goes_is_paged_in_once() -> None:
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    anew, kept = map(int, done.stdout.split())
    assert kept < anew / 10  # a megabyte fifty times, or once
