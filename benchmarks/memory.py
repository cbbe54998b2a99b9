"""What a worker takes, by the operating system's own figures: all default streams, short clips, then three hours."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from benchmarks import material
from benchmarks.measure import Row
from features.registry import DEFAULT_STREAMS

_LONG_S = 3 * 3600
_N_CLIPS = 24

_WORKER = """
import json, resource, sys
from features.registry import spec_for
from pipeline.batches import cut_batches
from pipeline.extract import extract_batch
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema.store import open_store

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

import torch
torch.set_num_threads(1)
store = open_store(sys.argv[1], create=True)
peaks = []
streams = sys.argv[2].split()
for folder in sys.argv[3:]:
    ingest(store, "folder", folder)
    plan = plan_extraction(store.snapshot(), [spec_for(name) for name in streams])
    for stream in plan.streams:
        for batch in cut_batches(stream):
            rows = extract_batch(store.uri, batch)
            assert all(row.status == "ok" for row in rows), [row.message for row in rows]
            store.commit(rows)
        peaks.append(round(peak_mb()))
print(json.dumps(peaks))
"""


def memory_row(streams: Sequence[str] = DEFAULT_STREAMS) -> Row:
    """Peak resident memory of one process that extracts short clips, and then a recording of three hours as well."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder, "short"), Path(folder, "long")
        material.copy_clips(short, _N_CLIPS)
        (long / "label").mkdir(parents=True)
        # A long recording is made of real ones, repeated, at a rate that has to be changed for every stream.
        clips = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in material.paths(_N_CLIPS)])
        with soundfile.SoundFile(long / "label" / "long.wav", "w", 22_050, 1, subtype="PCM_16") as file:
            for _ in range(-(-_LONG_S * 22_050 // len(clips))):
                file.write(clips)
        command = [sys.executable, "-c", _WORKER, f"{folder}/store", " ".join(streams), str(short), str(long)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    peaks = json.loads(done.stdout.splitlines()[-1])
    before, after = max(peaks[: len(peaks) // 2]), max(peaks)
    return Row(
        "memory",
        f"peak of a worker: {_N_CLIPS} clips, then {_LONG_S // 3600} hours in one file; {', '.join(streams)}",
        "under 1500 MB; three hours add under 200 MB",
        figures={"MB with short clips": before, "MB with three hours": after, "MB added": after - before},
    )
