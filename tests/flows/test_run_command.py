"""`timbrel run` tells what its flow reports; the flow itself is run for real in tests/end_to_end."""

import json

import pytest

import flows.server
import flows.whole
from flows.whole import WholeReport
from pipeline.extraction import ExtractionReport
from pipeline.ingest import IngestReport

INGEST = IngestReport("audio", n_listed=4, n_new=4, n_changed=0, n_unchanged=0, n_problems=0, n_unlisted=0)
COMPLETE = ExtractionReport({"waveform": 4}, {"waveform": 0}, {"waveform": 0}, 1.2, 0.1)
ONE_FAILED = ExtractionReport({"waveform": 3}, {"waveform": 1}, {"waveform": 0}, 0.9, 0.1)
ONE_LEFT_OUT = ExtractionReport({"waveform": 0}, {"waveform": 0}, {"waveform": 1}, 0.0, 0.1)


@pytest.fixture
def run(timbrel, audio, tmp_path, monkeypatch):
    """Call `timbrel run` on `audio` with a flow that reports `extraction`."""

    def call(extraction, *words):
        monkeypatch.setattr(flows.server, "start_server", lambda: None)
        monkeypatch.setattr(flows.whole, "whole_flow", lambda *_: WholeReport(INGEST, extraction, None))
        return timbrel("run", "folder", audio, "--store", tmp_path / "store", *words)

    return call


def test_run_without_a_recipe_says_what_was_computed(run):
    code, out, _ = run(COMPLETE)
    assert (code, out) == (0, "audio: 4 files; clips computed: 4 waveform\n")


def test_settings_go_to_the_recipe_or_to_a_stream_as_their_section_says(timbrel, audio, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(flows.server, "start_server", lambda: None)
    monkeypatch.setattr(
        flows.whole, "whole_flow", lambda *given: seen.append(given) or WholeReport(INGEST, COMPLETE, None)
    )
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[data]\ndataset = "audio"\n')
    call = ("run", "folder", audio, "--store", tmp_path / "store", "--set", "fit.epochs=2", "--seed", 4)
    assert timbrel(*call, "--set", "pitch.model=full", "--recipe", recipe)[0] == 0
    ((*_, parameters, _, _, _, settings),) = seen
    assert (parameters, settings) == ({"pitch": {"model": "full"}}, ["fit.epochs=2", "fit.seed=4"])
    code, _, err = timbrel(*call)
    assert (code, "name it with --recipe" in err) == (2, True)
    code, _, err = timbrel(*call, "--set", "fit.epoch=2", "--recipe", recipe)
    assert (code, "has no setting 'epoch'" in err) == (2, True)
    assert len(seen) == 1


@pytest.mark.parametrize("extraction", [ONE_FAILED, ONE_LEFT_OUT])
def test_failed_clips_show_in_the_exit_code_and_leave_json_alone(run, extraction):
    code, out, _ = run(extraction)
    assert code == 1
    assert "some clips failed" in out
    code, out, _ = run(extraction, "--json")
    assert code == 1
    assert json.loads(out)["extraction"]["n_ok"] == extraction.n_ok
