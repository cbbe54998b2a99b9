"""One extraction to be killed: `python -m tests.stress.job STORE JOURNAL`, in a process group of its own.

Batches are small, commits frequent, and each batch takes its time on both sides of its work, so that a kill finds many
in every state. What was begun, ended and received by the committing process is written to the journal, a line each,
appended by single writes: they outlive whoever wrote them.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import pipeline.execute
import pipeline.extraction
from features.registry import spec_for
from pipeline.commit import commit_receipts
from pipeline.execute import execute
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.plan import plan_extraction
from storage_schema import open_store

STREAMS = ("waveform", "timbre")
"""Both start soon: every job that is killed imports them anew."""
N_WORKERS = 2
BATCH_S = 2.0
COMMIT_EVERY_S = 0.1
_PAUSE_S = 0.02


def write_event(journal, event, batch_id, **more):
    line = json.dumps({"event": event, "batch": batch_id, "pid": os.getpid(), "at": time.time()} | more)
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def work_of(batch):
    """What a batch computes, as [stream, clip_id] pairs."""
    return [[batch.spec.stream, clip.clip_id] for clip in batch.clips]


def journalled_batch(journal, store_uri, batch, *rest):
    """`extract_batch`, told about; called in the workers."""
    batch_id = uuid4().hex
    write_event(journal, "begun", batch_id, work=work_of(batch))
    time.sleep(_PAUSE_S)
    rows = extract_batch(store_uri, batch, *rest)
    time.sleep(_PAUSE_S)
    write_event(journal, "ended", batch_id)
    return rows


def journalled_receipts(journal, *words):
    """`execute`, told about."""
    for receipt in execute(*words):
        write_event(journal, "received", None, work=work_of(receipt.batch))
        yield receipt


def main(store_uri, journal):
    pipeline.execute.extract_batch = partial(journalled_batch, journal)
    pipeline.extraction.execute = partial(journalled_receipts, journal)
    pipeline.extraction.commit_receipts = partial(commit_receipts, every_s=COMMIT_EVERY_S)
    store = open_store(store_uri)
    # A clip whose worker was killed four times running stands in quarantine, as it should.
    plan = plan_extraction(store.snapshot(), [spec_for(stream) for stream in STREAMS], retry_failed=True)
    run_extraction(store, plan, n_workers=N_WORKERS, batch_s=BATCH_S)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
