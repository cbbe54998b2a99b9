"""Prediction from files: one that cannot be heard says why, whoever noticed it, and costs the others nothing."""

from types import SimpleNamespace

import pytest

import flows.predict
from features.registry import spec_for
from features.waveform import WaveformFrames
from flows.predict import predict_files
from tests.pipeline.conftest import write_sine

SPEC = spec_for("waveform")


class Fussy(WaveformFrames):
    """An extractor that does not like 0.4 s."""

    def extract(self, waveforms):
        if any(len(waveform) == 6400 for waveform in waveforms):
            raise RuntimeError("I do not like 0.4 s")
        return super().extract(waveforms)


@pytest.fixture
def fussy(monkeypatch):
    """A run of one stream, whose only label is as probable as the clip is long in seconds."""
    predictor = SimpleNamespace(
        specs={"waveform": SPEC}, labels=("long",), score=lambda features, duration_s: [duration_s]
    )
    monkeypatch.setattr(flows.predict, "predict", lambda _folder: predictor)
    monkeypatch.setattr(flows.predict, "load_extractor", Fussy)


def test_file_that_the_extractor_refuses_is_named_and_costs_no_other(fussy, tmp_path):
    files = [write_sine(tmp_path / f"{i}.wav", seconds=0.3 + 0.1 * i) for i in range(3)]
    (tmp_path / "text.wav").write_text("no sound")
    first, second, third, fourth = predict_files(tmp_path, [*files, tmp_path / "text.wav"])
    assert [first.scores["long"], third.scores["long"]] == pytest.approx([0.3, 0.5])
    assert second.scores == fourth.scores == {}
    assert second.problem == f"extractor: {files[1]}: waveform failed: RuntimeError: I do not like 0.4 s"
    assert fourth.problem.startswith("undecodable: ")
