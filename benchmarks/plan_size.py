"""How planning grows with the catalogue: seconds and memory of `timbrel plan` and of an extract with nothing to do.

    python benchmarks/plan_size.py FOLDER [N_CLIPS ...]

makes a synthetic catalogue of each size below FOLDER (rows and empty parts, no audio), asks the commands as a user
does, each in a process of its own, and prints a table. Imports are part of the seconds; where other programs use
the cores, the CPU seconds of both cores together say more. On Linux; memory is the largest resident set.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.registry import DEFAULT_STREAMS, spec_for
from storage_schema import catalogue, open_store
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.layout import part_key, spec_key
from storage_schema.store import Store
from storage_schema.streams import StreamSpec
from storage_schema.tables import CLIPS, EXTRACTIONS

SIZES = (10_000, 50_000, 100_000, 1_000_000)
CLIPS_A_PART = 24
"""Of five seconds each, in batches of 120 s."""

_ROWS_A_COMMIT = 100_000
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_TIMBREL = (sys.executable, "-c", "from flows.cli.main import main; main()")


def main(folder: Path, sizes: Sequence[int]) -> None:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| clips x 4 streams | command | seconds | CPU seconds | peak MB |\n|---|---|---|---|---|")
    for n in sizes:
        store = open_store(folder / f"{n}", create=True)
        write_clips(store, n)
        report(n, "plan, nothing extracted", "plan", store.uri, "--no-probe", "--json")
        for stream in DEFAULT_STREAMS:
            write_extractions(store, spec_for(stream), n)
        report(n, "plan, all extracted", "plan", store.uri, "--no-probe", "--json")
        report(n, "plan, pitch.hop changed", "plan", store.uri, "--no-probe", "--json", "--set", "pitch.hop=160")
        report(n, "extract, nothing to do", "extract", store.uri)


def write_clips(store: Store, n: int) -> None:
    for start in range(0, n, _ROWS_A_COMMIT):
        m = min(_ROWS_A_COMMIT, n - start)
        rows: dict[str, object] = {
            "dataset": ["synthetic"] * m,
            "uri": [f"{i % 1000:03}/recording-{i:08}.wav" for i in range(start, start + m)],
            "root": ["/data/recordings"] * m,
            "clip_id": clip_ids(start, m),
            "n_bytes": [160_044] * m,
            "mtime_ns": list(range(start, start + m)),
            "duration_s": np.random.default_rng(start).uniform(1.0, 9.0, m),
            "labels": [[f"label {i % 300}"] for i in range(m)],
            "ingested_at": [_NOW] * m,
        }
        catalogue.merge_clips(store.files.table_uri(CLIPS_KEY), _table(rows, CLIPS, m), "synthetic")


def write_extractions(store: Store, spec: StreamSpec, n: int) -> None:
    """A good row for every clip, and the folders of the parts that the rows name."""
    root = Path(store.uri)
    store.files.write(spec_key(spec.stream, spec.fingerprint), spec.to_json().encode())
    for start in range(0, n, _ROWS_A_COMMIT):
        m = min(_ROWS_A_COMMIT, n - start)
        parts = [f"{i // CLIPS_A_PART:032x}" for i in range(start, start + m)]
        for part in sorted(set(parts)):
            (root / part_key(spec.stream, spec.fingerprint, part)).mkdir(parents=True, exist_ok=True)
        rows: dict[str, object] = {
            "clip_id": clip_ids(start, m),
            "stream": [spec.stream] * m,
            "fingerprint": [spec.fingerprint] * m,
            "status": ["ok"] * m,
            "part_id": parts,
            "first_row": [200 * (i % CLIPS_A_PART) for i in range(m)],
            "n_rows": [200] * m,
            "audio_s": [5.0] * m,
            "elapsed_ms": [50.0] * m,
            "attempts": [1] * m,
            "finished_at": [_NOW] * m,
        }
        catalogue.merge_extractions(store.files.table_uri(EXTRACTIONS_KEY), _table(rows, EXTRACTIONS, m), "synthetic")


def clip_ids(start: int, n: int) -> list[str]:
    """Ids that look like hashes: random, and the same for the same rows."""
    return [row.tobytes().hex() for row in np.random.default_rng([start, 7]).integers(0, 256, (n, 16), np.uint8)]


def report(n: int, what: str, command: str, store: str, *words: str) -> None:
    started = time.monotonic()
    process = subprocess.Popen([*_TIMBREL, command, "--store", store, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"timbrel {command} ended with status {status}")
    cpu_s = usage.ru_utime + usage.ru_stime
    print(f"| {n:,} | {what} | {seconds:.1f} | {cpu_s:.1f} | {usage.ru_maxrss / 1024:.0f} |", flush=True)


def _table(rows: dict[str, object], schema: pa.Schema, n: int) -> pa.Table:
    columns = [pa.array(rows[f.name], f.type) if f.name in rows else pa.nulls(n, f.type) for f in schema]
    return pa.table(columns, schema=schema)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or SIZES)
