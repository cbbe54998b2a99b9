"""`timbrel robustness`: damaged copies through the ordinary extraction, and the run's own models on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import flows.robustness
from features.registry import spec_for
from flows.originals import find_originals
from flows.robustness import keep_robustness, measure_robustness
from pipeline.batches import cut_batches
from pipeline.extract import extract_batch
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema.store import open_store
from training.exhibits.judged import read_judged
from training.judge import FUSION
from training.recipe import parse_recipe
from training.robustness.document import ROBUSTNESS, read_robustness
from training.run import open_finished, train

STREAMS = ("timbre", "waveform")
RATE = 16_000
RECIPE = """[data]
dataset = "sounds"
streams = ["timbre", "waveform"]
[split]
kind = "held_out"
test_share = 0.4
[window]
length_s = 0.3
hop_s = 0.3
[model]
dim = 8
layers = 1
heads = 1
[fit]
epochs = 3
"""


def make_sounds(folder):
    """Ten low hums and ten hisses of 0.3 s, in stereo."""
    rng = np.random.default_rng(0)
    times = np.arange(round(0.3 * RATE)) / RATE
    for i in range(10):
        for label in ("hum", "hiss"):
            hum = 0.3 * np.sin(2 * np.pi * rng.uniform(90, 300) * times)
            sound = hum if label == "hum" else 0.1 * rng.standard_normal(len(times))
            (folder / label).mkdir(parents=True, exist_ok=True)
            stereo = np.stack([sound, 0.01 * rng.standard_normal(len(times))], axis=1)
            soundfile.write(folder / label / f"{i}.wav", stereo, RATE)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a run "made", and the folder of its recordings."""
    folder = tmp_path_factory.mktemp("robustness")
    store = open_store(folder / "store", create=True)
    ingest(store, "folder", make_sounds(folder / "sounds"))
    for stream in plan_extraction(store.snapshot(), [spec_for(name) for name in STREAMS]).streams:
        for batch in cut_batches(stream, 60):  # here rather than on a cluster, which takes seconds to start
            store.commit(extract_batch(store.uri, batch))
    train(store, parse_recipe(RECIPE, "made"), device="cpu", run_id="made")
    return store, folder / "sounds"


@pytest.fixture(scope="module")
def measured(made, tmp_path_factory):
    """The uri of a test clip that is gone, what was measured without it in two rounds, and what was left behind."""
    store, sounds = made
    run = open_finished(store, "made")
    gone = run.corpus.examples[int(run.corpus.folds[0].test[2])].uri
    (sounds / gone).rename(sounds / "elsewhere.bin")
    scratch = tmp_path_factory.mktemp("scratch")
    copy_bytes = round(0.3 * 48_000) * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        found = measure_robustness(store, "made", n_clips=100, n_workers=1, scratch_bytes=50 * copy_bytes)
    (sounds / "elsewhere.bin").rename(sounds / gone)
    return gone, found, [path for path in scratch.iterdir() if path.name != "dask-scratch-space"]


def test_clean_copies_score_what_the_store_scores(made, measured):
    store, _ = made
    gone, found, _ = measured
    run = open_finished(store, "made")
    with store.open_run("made") as folder:
        judged = read_judged(folder, FUSION, run.result.labels)
    kept = [i for i, uri in enumerate(judged.uris) if uri != gone]
    assert (found.n_clips, found.n_test, len(kept)) == (8, 8, 7)
    assert found.largest_difference < 1e-4
    clean = found.of(STREAMS, "clean")
    is_right = judged.is_true.argmax(axis=1) == judged.probabilities.argmax(axis=1)
    assert (clean.n_clips, clean.difference) == (7, None)
    assert clean.score.value == pytest.approx(is_right[kept].mean())


def test_every_subset_is_judged_under_every_condition(measured):
    _, found, _ = measured
    assert found.subsets == (STREAMS, ("timbre",), ("waveform",))
    assert len(found.conditions) == 11
    assert [(each.condition, each.streams) for each in found.scores] == [
        (condition, streams) for condition in found.conditions for streams in found.subsets
    ]
    assert all(each.n_clips == 7 and each.score is not None for each in found.scores)
    assert all(each.difference is not None for each in found.scores if each.condition != "clean")
    assert {each.difference.value for each in found.scores if each.difference} != {0}  # something was damaged
    assert found.noise == "clips of other classes that the models have learned from"


def test_a_clip_that_is_gone_is_counted_and_named_and_nothing_stays_behind(made, measured):
    _, sounds = made
    gone, found, left_behind = measured
    (left_out,) = found.left_out
    assert (left_out.uri, left_out.condition) == (gone, None)
    assert left_out.reason.startswith(f"vanished: {sounds / gone} is not there")
    assert left_behind == []


def test_it_is_kept_in_the_run_and_drawn_in_its_report(made, measured, timbrel, monkeypatch):
    store, _ = made
    gone, found, _ = measured
    asked = {}

    def measure(_store, run_id, **given):
        asked.update(given, run_id=run_id)
        return found

    monkeypatch.setattr(flows.robustness, "measure_robustness", measure)
    words = ("robustness", "made", "--store", store.uri, "--clips", 9, "--seed", 3, "--memory", "1GB", "--noise", "n")
    code, out, _ = timbrel(*words)
    assert code == 1  # a clip could not be heard
    wanted = {"run_id": "made", "n_clips": 9, "seed": 3, "noise": "n", "memory_bytes": 10**9}
    assert {name: asked[name] for name in wanted} == wanted
    lines = out.splitlines()
    assert lines[0].strip() == "run made, all streams: timbre, waveform"
    assert [line.split("  ")[0] for line in lines[2:13]] == list(found.conditions)
    assert all(len(line) <= 80 for line in lines[:16])
    assert gone in out
    assert "1 clip could not be heard" in out
    with store.open_run("made") as folder:
        assert read_robustness(folder) == found
        page = (folder / "report.html").read_text(encoding="utf-8")
    assert "When the recordings are damaged" in page
    code, out, _ = timbrel(*words, "--json")
    document = json.loads(out)
    assert Path(document.pop("report")).name == "report.html"
    assert document == json.loads(found.model_dump_json())


def test_noise_is_what_the_models_learned_from_and_of_no_class_of_the_clip(made):
    store, sounds = made
    run = open_finished(store, "made")
    (fold,) = run.corpus.folds
    tested = {run.corpus.examples[i].uri for i in fold.test.tolist()}
    originals = find_originals(store, run, fold.test, None, seed=0)
    for clip, original in zip(fold.test.tolist(), originals, strict=True):
        uris = [str(Path(noise).relative_to(sounds)) for noise in original.noises]
        (label,) = run.corpus.examples[clip].labels
        assert len(uris) == len(set(uris)) >= 4
        assert tested.isdisjoint(uris)
        assert {uri.split("/")[0] for uri in uris} == {"hum", "hiss"} - {label}
    assert find_originals(store, run, fold.test, None, seed=0) == originals
    assert find_originals(store, run, fold.test, None, seed=1) != originals
    (named, *_) = find_originals(store, run, fold.test, ["street.wav"], seed=0)
    assert named.noises == ["street.wav"]
    assert len(named.never) == 20  # no clip of the dataset is mixed in, learned from or not


def test_what_was_extracted_before_is_not_touched(made, measured):
    store, _ = made
    assert measured
    state = store.snapshot()
    assert [(entry.stream, entry.n_ok) for entry in state.coverage()] == [("timbre", 20), ("waveform", 20)]
    assert store.runs() == ["made"]
    keep_robustness(store, measured[1])
    with store.open_run("made") as folder:
        assert (folder / ROBUSTNESS).exists()
        assert store.snapshot().id == state.id


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("mad",), "has no run 'mad'; its newest: made"),
        (("made", "--noise", "nowhere"), "nowhere does not exist"),
        (("made", "--clips", "0"), "--clips"),
        (("made", "--memory", "much"), "no amount of memory"),
    ],
)
def test_a_wrong_question_is_one_sentence(timbrel, made, words, sentence):
    code, out, err = timbrel("robustness", *words, "--store", made[0].uri)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_run_whose_recordings_are_all_gone_says_so(timbrel, made):
    store, sounds = made
    sounds.rename(sounds.with_name("away"))
    code, out, err = timbrel("robustness", "made", "--store", store.uri)
    sounds.with_name("away").rename(sounds)
    assert (code, out) == (2, "")
    assert "none of the 8 test clips of run made can be heard again; the first: vanished: " in err
    assert "`timbrel ingest` them from where they are now" in err
