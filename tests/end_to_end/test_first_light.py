"""The whole arrow diagram, as a user runs it: real Prefect, real Dask, real extractors, processes of their own.

The tests follow one another on one store, as days do; each says what it needs of the one before.
"""

import json

import pyarrow.parquet as pq
import pytest

from storage_schema import open_store
from tests.end_to_end.conftest import add_clips, interrupt_timbrel, timbrel_one_after_another, timbrel_out_err

FOUR = {"pitch", "timbre", "neural", "waveform"}


@pytest.fixture(scope="module")
def first_run(workspace):
    """The whole flow from nothing."""
    words = ("run", "esc50", "esc50", "--recipe", "recipe.toml", "--workers", "2", "--json")
    return json.loads(timbrel_out_err(workspace, *words)[0])


def test_one_flow_leads_from_recordings_to_a_reported_model(workspace, first_run):
    assert first_run["ingest"]["n_new"] == 18
    assert first_run["extraction"]["n_ok"] == dict.fromkeys(FOUR, 18)
    models = {model["name"]: model for model in first_run["training"]["models"]}
    assert set(models) >= FOUR | {"fusion"}
    assert models["fusion"]["metrics"]["accuracy"]["value"] >= 0.8  # hum, whistle and hiss are far apart
    assert models["fusion"]["n_parameters"] < 5_000_000
    run = workspace / "store" / "runs" / first_run["training"]["run_id"]
    names = {path.name for path in run.iterdir()}
    assert {"metrics.json", "recipe.toml", "predictions.parquet", "report.html", "fold_1"} <= names
    report = (run / "report.html").read_text()
    assert all(stream in report for stream in FOUR)


def test_second_extract_computes_nothing(first_run, timbrel_json):
    assert timbrel_json("extract")["computed"] == dict.fromkeys(FOUR, 0)


def test_training_reads_the_store_alone(workspace, first_run, timbrel_json):
    (workspace / "esc50").rename(workspace / "elsewhere")
    try:
        again = timbrel_json("train", "recipe.toml")
    finally:
        (workspace / "elsewhere").rename(workspace / "esc50")
    for before, after in zip(first_run["training"]["models"], again["models"], strict=True):
        assert before["metrics"] == after["metrics"]  # the same recipe, seed and snapshot


def test_evaluation_repeats_the_figures(first_run, timbrel_json, timbrel_here):
    run_id = first_run["training"]["run_id"]
    again = timbrel_json("evaluate", run_id)
    for before, after in zip(first_run["training"]["models"], again["models"], strict=True):
        assert before["metrics"] == after["metrics"]
    code, out, _ = timbrel_here("evaluate", run_id)
    assert code == 0
    assert "fusion" in out


def test_prediction_from_audio_equals_the_score_from_the_store(workspace, first_run, timbrel_json):
    run_id = first_run["training"]["run_id"]
    rows = pq.read_table(workspace / "store" / "runs" / run_id / "predictions.parquet").to_pylist()
    expected = {row["uri"]: row["probabilities"] for row in rows if row["model"] == "fusion"}
    assert len(expected) == 6
    files = [f"esc50/{uri}" for uri in expected]
    (workspace / "broken.wav").write_text("no sound")
    predictions = timbrel_json("predict", run_id, *files, "broken.wav", expect=1)
    labels = first_run["training"]["labels"]
    for prediction, probabilities in zip(predictions[:-1], expected.values(), strict=True):
        assert [prediction["scores"][label] for label in labels] == pytest.approx(probabilities, abs=1e-4)
    assert predictions[-1]["problem"].startswith("undecodable: ")


def test_door_for_python_opens_without_a_command(workspace, first_run):
    pitch = open_store(workspace / "store").snapshot().stream("pitch")
    everything = pitch.read_all()
    assert everything.arrays["salience"].shape == (18 * 41, 360)
    dataset = pitch.to_xarray(pitch.clip_ids[0])
    assert float(dataset.salience.max()) <= 1
    assert dataset.f0_hz.attrs["units"] == "Hz"


def test_ten_new_files_cost_ten_clips(workspace, first_run, timbrel_json):
    add_clips(workspace / "esc50", 18, 10)
    assert timbrel_json("ingest", "esc50", "esc50")["n_new"] == 10
    assert timbrel_json("extract")["computed"] == dict.fromkeys(FOUR, 10)


def test_one_changed_parameter_of_pitch_costs_the_pitch_stream(first_run, timbrel_json):
    plan = timbrel_json("plan", "--set", "pitch.hop=800", "--no-probe")["streams"]
    n_clips = plan["pitch"]["clips"]
    assert plan["pitch"]["reasons"] == {"parameter hop 400 -> 800": n_clips}
    assert all(plan[stream]["wanted"] == 0 for stream in FOUR - {"pitch"})
    computed = timbrel_json("extract", "--set", "pitch.hop=800")["computed"]
    assert computed == {"pitch": n_clips, "timbre": 0, "neural": 0, "waveform": 0}


@pytest.fixture(scope="module")
def later_runs(workspace, first_run):
    """Exit code, stdout and stderr of a flow without a recipe, and of one with a recipe that asks for what is not."""
    (workspace / "other.toml").write_text('[data]\ndataset = "another"\n')
    words = ("run", "esc50", "esc50", "--json")
    return timbrel_one_after_another(workspace, words, (*words, "--recipe", "other.toml"))


def test_run_without_a_recipe_only_extracts_and_finds_nothing_to_do(later_runs):
    code, out, _ = later_runs[0]
    assert code == 0
    document = json.loads(out)
    assert document["training"] is None
    assert document["ingest"]["n_new"] == 0
    assert document["extraction"]["n_ok"] == dict.fromkeys(FOUR, 0)


def test_what_a_stage_of_the_flow_refuses_is_one_sentence(later_runs):
    assert later_runs[1] == (2, "", "timbrel: the store has no dataset 'another'; it has esc50\n")


def test_interrupted_flow_ends_and_does_not_wait_for_its_server(workspace, first_run):
    code, rest = interrupt_timbrel(workspace, "logmel: 0 of", "run", "esc50", "esc50", "--streams", "logmel")
    assert code == 130
    assert rest.splitlines()[-1].startswith("timbrel: interrupted; what was committed stays")
    assert "Traceback" not in rest
