"""A small dataset in ESC-50's own layout, and the command line as a process of its own."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.flows.conftest import timbrel as timbrel_here  # noqa: F401 - a fixture: the command in this process

CLASSES = ("hum", "whistle", "hiss")

RECIPE = """
[data]
dataset = "esc50"

[split]
kind = "folds"
test_folds = [1]

[window]
length_s = 0.5
hop_s = 0.5

[fit]
epochs = 6
"""


def make_sound(label, rng, sample_rate_hz=44_100, seconds=1.0):
    t = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    noise = 0.02 * rng.standard_normal(len(t))
    if label == "hiss":
        return 10 * noise
    f0_hz = rng.uniform(90, 130) if label == "hum" else rng.uniform(900, 1300)
    n_harmonics = 8 if label == "hum" else 1
    return noise + sum(0.3 / k * np.sin(2 * np.pi * k * f0_hz * t) for k in range(1, n_harmonics + 1))


def add_clips(root: Path, first: int, n: int):
    """Write `n` clips in ESC-50's layout, numbered from `first`, and their lines of metadata."""
    (root / "audio").mkdir(parents=True, exist_ok=True)
    (root / "meta").mkdir(exist_ok=True)
    meta = root / "meta" / "esc50.csv"
    is_new = not meta.exists()
    with meta.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for i in range(first, first + n):
            target, fold = i % len(CLASSES), 1 + i // len(CLASSES) % 3
            name = f"{fold}-{i}-A-{target}.wav"
            sound = make_sound(CLASSES[target], np.random.default_rng(i))
            soundfile.write(root / "audio" / name, sound, 44_100)
            writer.writerow([name, fold, target, CLASSES[target], True, i, "A"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with 18 clips, a recipe, and a Prefect home of its own."""
    folder = tmp_path_factory.mktemp("workspace")
    add_clips(folder / "esc50", 0, 18)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def timbrel_json(workspace, timbrel_here, monkeypatch):  # noqa: F811 - the fixture
    """Call `timbrel WORDS... --json` in this process, in the workspace and on its store; returns the document."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("TIMBREL_STORE", str(workspace / "store"))

    def call(*words, expect=0):
        code, out, err = timbrel_here(*words, "--json")
        assert code == expect, err
        return json.loads(out)

    return call


def timbrel_out_err(workspace, *words, expect=0):
    """Run the command in a process of its own, as a user would; returns its standard output and standard error."""
    command = _command(words)
    done = subprocess.run(
        command, check=False, env=_environment(workspace), cwd=workspace, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def interrupt_timbrel(workspace, when, *words):
    """Press Ctrl-C, as a terminal does for the whole group, once `when` is on stderr; (exit code, the rest of it)."""
    with subprocess.Popen(
        _command(words),
        env=_environment(workspace),
        cwd=workspace,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert any(when in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, rest = process.communicate(timeout=45)
        finally:
            process.kill()
    return process.returncode, rest


def timbrel_one_after_another(workspace, *commands):
    """Run several commands in one process, for which Prefect starts once; (exit code, stdout, stderr) of each."""
    call = [sys.executable, "-c", _ONE_AFTER_ANOTHER, json.dumps([[*map(str, words)] for words in commands])]
    done = subprocess.run(
        call, check=True, env=_environment(workspace), cwd=workspace, capture_output=True, text=True, timeout=300
    )
    (outs, codes), (errs, _) = ((parts[:-1:2], parts[1::2]) for parts in map(_END.split, (done.stdout, done.stderr)))
    assert len(outs) == len(errs) == len(commands)
    return [*zip(map(int, codes), outs, errs, strict=True)]


_END = re.compile(r"<<exit (\d+)>>\n")
_ONE_AFTER_ANOTHER = """
import json, sys
from flows.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv, code = ["timbrel", *words], 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    for stream in (sys.stdout, sys.stderr):
        print(f"<<exit {code}>>", file=stream, flush=True)
"""


def _command(words):
    return [str(Path(sys.executable).with_name("timbrel")), *map(str, words)]


def _environment(workspace):
    return os.environ | {"PREFECT_HOME": str(workspace / "prefect"), "TIMBREL_STORE": str(workspace / "store")}
