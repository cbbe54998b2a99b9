"""`refresh` from a folder to a promoted model, on a real Prefect server: what is done and what is left alone."""

import json
from urllib.request import Request, urlopen

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.refresh import refresh_flow
from storage_schema import open_store
from storage_schema.promotion import read_promotion
from tests.pipeline.conftest import write_sine

pytestmark = pytest.mark.slow  # about 20 s together

RECIPE = """
[data]
dataset = "audio"
streams = ["logmel"]
[split]
kind = "by_hash"
test_share = 0.4
[window]
length_s = 0.5
hop_s = 0.5
[model]
dim = 8
layers = 1
heads = 2
[fit]
epochs = 2
"""


def add(folder, first, n):
    for i in range(first, first + n):
        write_sine(folder / ("low" if i % 2 else "high") / f"{i}.wav", (200 if i % 2 else 3000) + 10 * i, 0.6)


@pytest.fixture
def refresh(tmp_path, prefect_environment):
    """Call `refresh` on a folder of 16 sines of two labels."""
    add(tmp_path / "audio", 0, 16)
    (tmp_path / "recipe.toml").write_text(RECIPE)

    def call(**changes):
        words = {"root": str(tmp_path / "audio"), "recipe": str(tmp_path / "recipe.toml"), "streams": ["logmel"]}
        with temporary_settings({PREFECT_API_URL: prefect_environment["PREFECT_API_URL"]}):
            return refresh_flow(store=str(tmp_path / "store"), **words | changes)

    return call


def latest(prefect_environment, key):
    """The newest artifact of that key, through Prefect's API."""
    body = json.dumps({"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}).encode()
    url = f"{prefect_environment['PREFECT_API_URL']}/artifacts/filter"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=30) as answer:
        (found,) = json.load(answer)
    return found["data"]


def test_refresh_trains_on_news_alone_and_promotes_what_is_not_worse(refresh, tmp_path, prefect_environment):
    first = refresh()
    store = open_store(tmp_path / "store")
    assert first.extraction.n_ok == {"logmel": 16}
    assert first.promotion == read_promotion(store.files, "audio")
    assert (first.promotion.run_id, first.promotion.why) == (first.training.run_id, "it is the first")
    models = [row["model"] for row in json.loads(latest(prefect_environment, "metrics-store"))]
    assert "logmel" in models
    assert f"runs/{first.training.run_id}/report.html" in latest(prefect_environment, "report-store")

    idle = refresh()
    assert (idle.training, idle.promotion) == (None, first.promotion)
    assert idle.sentences()[-1] == f"train: nothing new to learn; in use: {first.training.run_id}"
    assert len(store.runs()) == 1

    add(tmp_path / "audio", 16, 4)
    grown = refresh()
    assert grown.extraction.n_ok == {"logmel": 4}
    assert grown.promotion.weighed == grown.training.run_id != first.training.run_id
    assert "test clips of both" in grown.promotion.why
    assert grown.promotion.run_id in store.runs()


def test_failed_clips_stop_neither_the_others_nor_the_flow(refresh, tmp_path):
    (tmp_path / "audio" / "low" / "broken.wav").write_bytes(b"no sound")
    report = refresh(recipe=None)
    assert (report.extraction.n_ok, report.extraction.n_failed) == ({"logmel": 16}, {"logmel": 1})
    assert not report.is_complete
    assert report.sentences() == [
        "ingest: audio, 17 files, 17 new, 0 changed",
        "extract: 16 logmel; 1 failed",
        "train: no recipe was given",
    ]
