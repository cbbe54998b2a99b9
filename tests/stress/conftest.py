"""A store with some hundred short clips in its catalogue and nothing extracted, and what a store holds."""

import shutil

import numpy as np
import pytest
import soundfile

from features.registry import spec_for
from pipeline.batches import cut_batches
from pipeline.extract import extract_batch
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.files import LocalFiles
from storage_schema.parts import Part, check_part, list_parts
from tests.stress.job import BATCH_S, STREAMS

N_CLIPS = 160


def write_clips(folder, first, n):
    """Noise of 0.2 to 0.6 s, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + n):
        rng = np.random.default_rng(i)
        soundfile.write(folder / f"{i}.wav", rng.uniform(-0.5, 0.5, rng.integers(3200, 9600)), 16_000)


def extract_here(store):
    """Extract what is missing in this process, one batch after another."""
    plan = plan_extraction(store.snapshot(), [spec_for(stream) for stream in STREAMS])
    for stream in plan.streams:
        for batch in cut_batches(stream, 10 * BATCH_S):
            store.commit(extract_batch(store.uri, batch))


@pytest.fixture(scope="session")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress")
    write_clips(folder / "audio", 0, N_CLIPS)
    ingest(open_store(folder / "ingested", create=True), "folder", folder / "audio")
    return folder / "ingested"


@pytest.fixture(scope="session")
def undisturbed(ingested):
    """Extracted in this process, one batch after another."""
    store = open_store(shutil.copytree(ingested, ingested.with_name("undisturbed")))
    extract_here(store)
    return store


def contents(store):
    """(stream, fingerprint, clip_id) to all that is known of it, down to the bytes; every row exactly once."""
    snapshot = store.snapshot()
    rows = snapshot._extractions("stream", "fingerprint", "clip_id", "status", "n_rows", "audio_s").rows()
    known = {row[:3]: row[3:] for row in rows}
    assert len(known) == len(rows), "a clip has two rows"
    found = {}
    for stream, fingerprint in snapshot.streams:
        reader = snapshot.stream(stream, fingerprint)
        everything = reader.read_all()
        for clip_id in reader.clip_ids:
            arrays = {
                name: (values.dtype.str, values.shape, values.tobytes())
                for name, values in everything.clip(clip_id).items()
            }
            found[stream, fingerprint, clip_id] = (*known.pop((stream, fingerprint, clip_id)), reader.spec, arrays)
    assert known == {}, "a row has no features"
    return found


def damages(store):
    """What is wrong with each part of a store: those that a row names, and on a disk all that lie there.

    In a bucket a part whose upload was killed lies about without its metadata, until the same part is made again or
    `timbrel gc` takes it away.
    """
    snapshot = store.snapshot()
    for stream, fingerprint in snapshot.streams:
        spec = snapshot.spec(stream, fingerprint)
        named, there = snapshot.part_ids(stream, fingerprint), set(list_parts(store.files, stream, fingerprint))
        assert named <= there
        for part_id in there if isinstance(store.files, LocalFiles) else named:
            yield check_part(Part(store.files, spec, part_id))
