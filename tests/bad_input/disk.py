"""`python -m tests.bad_input.disk full|readonly|limit FOLDER`: a disk that fails in mid-run, then is mended.

The first two mount a small file system at FOLDER/disk and want a name space of their own (`unshare -rm`); `limit` lets
no file grow beyond some kilobytes instead, and runs anywhere. Prints as JSON what the first run said and what the store
held after it, and what the same command did again after the disk was mended.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from features.registry import load_extractor, spec_for
from pipeline.decode import decode
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.errors import StoreError
from storage_schema.progress import StreamProgress
from storage_schema.store import Store
from tests.bad_input.cases import OF_A_DISK

N_CLIPS = 24
N_BEFORE = 8
"""How many are extracted before anything fails, so that there is something to lose."""
CLIP_S = 4.0
"""Noise, so that nothing compresses: 128 KB a clip, 3 MB in all, on a disk of 2 MB."""

WAVEFORM = spec_for("waveform")

MODES = dict(zip(OF_A_DISK, ("full", "readonly"), strict=True))


def words_for_own_mounts(folder: Path) -> list[str] | None:
    """The words before a command that give it mounts of its own, or None where this machine lets nobody have them."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    try_it = [*words, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    if not shutil.which("unshare") or subprocess.run(try_it, capture_output=True, check=False).returncode:
        return None
    return words


def run_apart(
    mode: str, folder: Path, before: Sequence[str] = (), *, module: str = "tests.bad_input.disk"
) -> dict[str, Any]:
    """What the `main` of `module` prints, from a process of its own."""
    command = [*before, sys.executable, "-m", module, mode, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(mode: str, folder: Path) -> None:
    """Make audio and store, let the disk fail, look, mend it, run again, look."""
    audio, disk = folder / "audio", folder / "disk"
    for path in (audio, disk):
        path.mkdir()
    if mode != "limit":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    store = open_store(disk / "store", create=True)
    for some in (range(N_BEFORE), range(N_BEFORE, N_CLIPS)):
        if some.start:
            _extract(store, lambda _progress: None)
        for i in some:
            samples = np.random.default_rng(i).uniform(-0.5, 0.5, round(CLIP_S * 16_000))
            soundfile.write(audio / f"{i}.wav", samples, 16_000)
        ingest(store, "folder", audio)

    def spoil(progress: StreamProgress) -> None:
        if mode == "readonly" and progress.n_done:
            _remount(disk, "ro")

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    if mode == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, unlimited[1]))
    told = ""
    try:
        _extract(store, spoil)
    except StoreError as error:
        told = str(error)
    first = {"told": told, "n_whole": _n_whole(store, audio)}

    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    if mode != "limit":
        _remount(disk, "rw,size=64m")
    _extract(store, lambda _progress: None)
    left = [path.name for path in (disk / "store").rglob("*.tmp*")]
    again = {
        "n_whole": _n_whole(store, audio),
        "n_wanted": plan_extraction(store.snapshot(), [WAVEFORM]).n_wanted,
    }
    print(json.dumps({"first": first, "again": again, "left": left}))


def _extract(store: Store, on_stream) -> None:
    plan = plan_extraction(store.snapshot(), [WAVEFORM])
    run_extraction(store, plan, n_workers=1, batch_s=2 * CLIP_S, on_stream=on_stream)


def _n_whole(store: Store, audio: Path) -> int:
    """How many clips a reader gets; each must be what its file says."""
    snapshot = store.snapshot()
    rows = snapshot.clips.to_pylist()
    reader = snapshot.stream("waveform")
    extractor = load_extractor(WAVEFORM)
    n = 0
    for row in rows:
        if row["clip_id"] in reader.clip_ids:
            (expected,) = extractor.extract([decode(audio / row["uri"], 16_000)])
            assert np.array_equal(reader.read(row["clip_id"])["samples"], expected["samples"])
            n += 1
    return n


def _remount(disk: Path, options: str) -> None:
    """Remount the disk, which is refused for as long as a worker has a file of it open."""
    command = ["mount", "-o", f"remount,{options}", str(disk)]
    for _ in range(100):
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
