"""`python -m benchmarks [ROW ...]`: run rows, print the table, keep a JSON under benchmarks/results."""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from benchmarks.codecs import codecs_row
from benchmarks.kernels import aisfx_row, crepe_row, timbre_row
from benchmarks.measure import Row, result_document
from benchmarks.memory import memory_row
from benchmarks.pipeline import script_row, workers_row
from benchmarks.startup import startup_row
from benchmarks.table import draw_table
from benchmarks.training_cache import lhotse_row, npy_row
from benchmarks.training_run import training_run_row
from benchmarks.where import where_row
from storage_schema.heap import keep_freed_memory

RESULTS = Path(__file__).parent / "results"

ROWS: dict[str, Callable[[], Row]] = {
    "crepe-full": partial(crepe_row, "full"),
    "crepe-tiny": partial(crepe_row, "tiny"),
    "aisfx": aisfx_row,
    "timbre": timbre_row,
    "pipeline": script_row,
    "workers": workers_row,
    "training-cache": npy_row,
    "training-lhotse": lhotse_row,
    "training-run": training_run_row,
    "start-up": startup_row,
    "bytes": codecs_row,
    "memory": memory_row,
    "where": where_row,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which, of {', '.join(ROWS)}")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.rows) - set(ROWS))
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; choose from {', '.join(ROWS)}")
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a worker; the other side of a row that runs in this process gains by it too
    rows: list[Row] = []
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    for name in arguments.rows or ROWS:
        rows.append(ROWS[name]())
        print(draw_table(rows[-1:]), flush=True)
        file.write_text(json.dumps(result_document(rows), indent=1) + "\n")  # what was measured stays, come what may
    print(f"\n{draw_table(rows)}\n\n{file}")


if __name__ == "__main__":
    main()
