"""What comes of every case: the folder of them ingested and extracted by a real Dask cluster, and the sentences."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from features.registry import spec_for
from pipeline.datasets.listing import posix
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.errors import TimbrelError
from tests.bad_input.cases import CASES, SHORTER, Case

HANDFUL = (
    "nan.wav", "full-scale.wav", "beyond full-scale.wav", "dc.wav", "silence.wav", "one sample.wav", "192000 Hz.wav",
)  # fmt: skip
"""What a slow extractor with corners of its own, timbre, is tried on."""

LONG_S = 3 * 3600


@dataclass(frozen=True)
class Outcome:
    """One line of the table; `found` is compared with what was expected, `words` are what a person is told."""

    promise: str
    file: str
    expected: str
    found: str
    words: str = ""


def file_outcomes(folder: Path) -> list[Outcome]:
    """Every case of CASES in one folder, through ingest and the streams waveform and logmel."""
    audio = folder / "audio"
    audio.mkdir()
    for case in CASES:
        case.make(audio / case.file)
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", audio)
    for case in CASES:
        if case.spoil is not None:
            case.spoil(audio / case.file)
    specs = [spec_for("waveform"), spec_for("logmel")]
    run_extraction(store, plan_extraction(store.snapshot(), specs), n_workers=2)
    snapshot = store.snapshot()
    assert not plan_extraction(snapshot, specs).n_wanted, "a clip is neither done nor failed"
    clip_ids = {row["uri"]: row["clip_id"] for row in snapshot.clips.to_pylist()}
    readers = [snapshot.stream(spec.stream) for spec in specs]
    problems = snapshot.problems().to_pylist()

    def outcome(case: Case) -> Outcome:
        uri = posix(Path(case.file))
        told = [p for p in problems if p["uri"] == uri or (p["stream"] and p["clip_id"] == clip_ids[uri])]
        if told:
            found = f"{told[0]['stage'] if told[0]['stream'] else 'ingest'}: {told[0]['kind']}"
            return Outcome(case.promise, case.file, case.outcome, found, told[0]["message"])
        n = [len(reader.read(clip_ids[uri])[reader.spec.arrays[0].name]) for reader in readers]
        assert n[1] in (n[0], n[0] + 1), "the two streams disagree about the length"
        found = SHORTER if case.outcome == SHORTER and 40 < n[0] < 160 else f"ok: {n[0]} + {n[1]} frames"
        return Outcome(case.promise, case.file, case.outcome, found)

    return [outcome(case) for case in CASES]


def timbre_outcomes(folder: Path) -> list[Outcome]:
    """The handful through the timbre stream."""
    cases = [case for case in CASES if case.file in HANDFUL]
    assert len(cases) == len(HANDFUL)
    for case in cases:
        case.make(folder / case.file)
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", folder)
    spec = spec_for("timbre")
    run_extraction(store, plan_extraction(store.snapshot(), [spec]), n_workers=1)
    snapshot = store.snapshot()
    reader = snapshot.stream("timbre")
    problems = {problem["uri"]: problem for problem in snapshot.problems().to_pylist()}
    clip_ids = {row["uri"]: row["clip_id"] for row in snapshot.clips.to_pylist()}
    outcomes = []
    for case in cases:
        if problem := problems.get(case.file):
            found, words = f"{problem['stage']}: {problem['kind']}", problem["message"]
        else:
            arrays = reader.read(clip_ids[case.file])
            assert np.isfinite(arrays["descriptors"]).all()
            found, words = f"ok: {len(arrays['descriptors'])} frames of timbre", ""
        expected = case.outcome
        if expected.startswith("ok"):
            expected = f"ok: {1 if case.file == 'one sample.wav' else 17} frames of timbre"
        outcomes.append(Outcome(case.promise, case.file, expected, found, words))
    return outcomes


def long_outcome(folder: Path) -> Outcome:
    """Three hours at 8 kHz, silence with a tone at its end, through the waveform stream."""
    audio = folder / "audio"
    audio.mkdir(parents=True)
    second = np.zeros(8_000)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    with soundfile.SoundFile(audio / "three hours.flac", "w", 8_000, 1, "PCM_16") as file:
        for start_s in range(0, LONG_S, 60):
            is_last = start_s == LONG_S - 60
            file.write(np.tile(tone if is_last else second, 60))
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", audio)
    run_extraction(store, plan_extraction(store.snapshot(), [spec_for("waveform")]), n_workers=1)
    reader = store.snapshot().stream("waveform")
    samples = reader.read(reader.clip_ids[0])["samples"]
    assert not samples[1_000 : -61 * 40].any()
    assert np.abs(samples[-59 * 40 :]).max() > 16_000
    return Outcome("three hours", "three hours.flac", f"ok: {LONG_S * 40} frames", f"ok: {len(samples)} frames")


def sentence_outcomes(folder: Path) -> list[Outcome]:
    """What is told before anything runs."""

    def stranger() -> None:
        (folder / "list.csv").write_text("path,label\nfine.wav,dog\n../../etc/passwd,dog\n")
        ingest(open_store(folder / "store", create=True), "csv", folder / "list.csv")

    def future() -> None:
        open_store(folder / "future", create=True)
        marker = folder / "future" / "timbrel.json"
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"schema_version": 99}))
        open_store(folder / "future")

    return [
        Outcome("a CSV with a path outside its root", "list.csv", "InputError", *_told(stranger)),
        Outcome("a catalogue from a future version", "timbrel.json", "StoreError", *_told(future)),
    ]


def _told(attempt: Callable[[], None]) -> tuple[str, str]:
    try:
        attempt()
    except TimbrelError as error:
        return type(error).__name__, str(error)
    return "nothing was told", ""
