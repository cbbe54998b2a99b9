"""The main job on an embedded default: 128 General MIDI instruments, from notes to a reported fusion model."""

import time
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from features.registry import DEFAULT_STREAMS
from features.weights import weight_path
from flows.display import on_progress
from flows.extract import extract
from flows.ingest import ingest_task
from flows.server import start_server
from flows.train import report_path, train_and_report
from pipeline.datasets.general_midi import render
from training.results import RunResult

RECIPE = Path(__file__).with_name("demo.toml")

_WEIGHTS = ("general-midi", "crepe-tiny", "aisfx")


@dataclass(frozen=True)
class Demo:
    """What the demo found, where it lies, and how long each stage took."""

    result: RunResult
    report: str
    stage_s: dict[str, float]

    @property
    def elapsed_s(self) -> float:
        return sum(self.stage_s.values())


@flow(name="timbrel-demo", validate_parameters=False)
def demo_flow(audio: Path, store_uri: str, n_workers: int | None) -> tuple[RunResult, dict[str, float]]:
    """The stages one after another, each timed."""
    stage_s: dict[str, float] = {}
    started = time.monotonic()
    ingest_task(store_uri, "general_midi", audio, None)
    stage_s["ingest"] = time.monotonic() - started
    started = time.monotonic()
    extract(store_uri, DEFAULT_STREAMS, None, n_workers)
    stage_s["extract"] = time.monotonic() - started
    started = time.monotonic()
    result = train_and_report(store_uri, RECIPE)
    stage_s["train"] = time.monotonic() - started
    return result, stage_s


def run_demo(folder: Path, *, n_notes: int = 8, n_workers: int | None = None) -> Demo:
    """Render (once), then ingest, extract and train below `folder`; a second call reuses what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for done, name in enumerate(_WEIGHTS, start=1):
        weight_path(name)
        on_progress("weights", done, len(_WEIGHTS))
    stage_s = {"weights": time.monotonic() - started}

    started = time.monotonic()
    audio, store = folder / "audio", folder / "store"
    render(audio, soundfont=weight_path("general-midi"), n_notes=n_notes, on_progress=on_progress)
    stage_s["render"] = time.monotonic() - started

    started = time.monotonic()
    start_server()
    result, flow_s = demo_flow(audio, str(store), n_workers)
    stage_s |= {"prefect": time.monotonic() - started - sum(flow_s.values())} | flow_s
    return Demo(result, report_path(str(store), result), stage_s)
