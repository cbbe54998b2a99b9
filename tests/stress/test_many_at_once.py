"""Two extractions, an ingest and a reader on one store at the same time, each a process of its own."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.ingest import ingest
from storage_schema import open_store
from storage_schema.parts import Part, check_part
from tests.stress.conftest import contents, damages, extract_here, write_clips
from tests.stress.job import STREAMS
from tests.stress.kills import ROOT, read

N_BEFORE, N_AFTER = 60, 30
_PATIENCE_S = 300


def start(folder, *command):
    """A process whose output is kept; `timbrel` is the command line."""
    if command[0] == "timbrel":
        command = (str(Path(sys.executable).with_name("timbrel")), *command[1:])
    with (folder / f"{time.time_ns()}.log").open("wb") as log:
        return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=log, cwd=ROOT)


def wait_for(process):
    out, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, process.args
    return out.decode()


def unique_rows(store):
    rows = store.snapshot()._extractions("stream", "clip_id", "status", "part_id").filter(status="ok").rows()
    assert len({row[:2] for row in rows}) == len(rows), "a clip has two rows"
    return rows


def check_all(store, n_clips):
    """Every clip in every stream once, each part that a row names whole, and every array readable."""
    rows = unique_rows(store)
    assert len(rows) == n_clips * len(STREAMS)
    snapshot = store.snapshot()
    assert snapshot.problems().num_rows == 0
    for name in STREAMS:
        stream = snapshot.stream(name)
        assert len(stream.clip_ids) == n_clips
        stream.read_all()
        for part_id in {row[3] for row in rows if row[0] == name}:
            assert check_part(Part(store.files, stream.spec, part_id)) is None


@pytest.mark.parametrize("ground", ["local", "s3"])
def test_extractions_an_ingest_and_a_reader_do_not_disturb_each_other(tmp_path, ground, request):
    uri = str(tmp_path / "store") if ground == "local" else f"{request.getfixturevalue('s3_uri')}/store"
    audio, extract = tmp_path / "audio", ("timbrel", "extract", "--streams", ",".join(STREAMS), "--workers", 1)
    store = open_store(uri, create=True)
    write_clips(audio, 0, N_BEFORE // 3)
    ingest(store, "folder", audio)
    extract_here(store)
    pinned = store.snapshot()
    write_clips(audio, N_BEFORE // 3, N_BEFORE - N_BEFORE // 3)
    ingest(store, "folder", audio)

    write_clips(audio, N_BEFORE, N_AFTER)
    stop = tmp_path / "stop"
    reader = start(tmp_path, sys.executable, "-m", "tests.stress.reader", uri, pinned.id, stop)
    writers = [start(tmp_path, *extract, "--json", "--store", uri) for _ in range(2)]
    ingesting = start(tmp_path, "timbrel", "ingest", "folder", audio, "--store", uri)
    assert "30 new" in wait_for(ingesting)
    computed = [json.loads(wait_for(writer))["computed"] for writer in writers]
    stop.touch()
    hashes = wait_for(reader).split()
    assert len(hashes) > 1
    assert len(set(hashes)) == 1, "what the reader saw of its snapshot changed"

    assert all(sum(one[stream] for one in computed) >= N_BEFORE - N_BEFORE // 3 for stream in STREAMS)
    extract_here(store)  # the clips that came while the others were at it
    check_all(store, N_BEFORE + N_AFTER)
    check_pinned(store, pinned)


def test_extractions_that_race_for_every_batch_leave_each_clip_once(ingested, undisturbed, tmp_path):
    uri = shutil.copytree(ingested, tmp_path / "store")
    jobs = [start(tmp_path, sys.executable, "-m", "tests.stress.job", uri, tmp_path / f"journal-{i}") for i in range(3)]
    for job in jobs:
        wait_for(job)
    begun = [event["work"] for i in range(3) for event in read(tmp_path / f"journal-{i}") if event["event"] == "begun"]
    assert sum(map(len, begun)) > len(contents(undisturbed)), "they came too late to race"
    assert contents(open_store(uri)) == contents(undisturbed)
    assert all(damage is None for damage in damages(open_store(uri)))


def check_pinned(store, pinned):
    again = store.snapshot(pinned.id)
    assert again.n_clips == N_BEFORE // 3
    assert len(again.stream("waveform").clip_ids) == N_BEFORE // 3
