"""Every recipe of a dataset, from its archive's folders to its report: the file as it is shipped, on a small set.

Only `fit.epochs` is shortened, and where a stream is slow to extract it is left out, both as a user would: with --set.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.demo import RECIPE as DEMO
from storage_schema import open_store
from tests.end_to_end import generated
from training.corpus import load_corpus
from training.recipe import load_recipe
from training.scoring import scoring_windows
from training.windows import Window, cut_tokens, random_windows, windows_of

RECIPES = Path(__file__).parents[2] / "recipes"
FOUR = "pitch,timbre,neural,waveform"
TWO = "timbre,waveform"
ONLY_TWO = ("--set", 'data.streams=["timbre", "waveform"]')


def prepare(timbrel_here, folder, kind, root, streams):
    """Ingest and extract; the store."""
    store = folder / "store"
    assert timbrel_here("ingest", kind, folder / root, "--store", store)[0] == 0
    assert timbrel_here("extract", "--streams", streams, "--workers", "1", "--store", store)[0] == 0
    return store


def train(timbrel_here, store, recipe, *words, epochs=1):
    """The document of the run, the rows of its predictions, its report as text, and the recipe it recorded."""
    code, out, err = timbrel_here(
        "train", RECIPES / recipe, "--set", f"fit.epochs={epochs}", *words, "--store", store, "--json"
    )
    assert code == 0, err
    document = json.loads(out)
    run = store / "runs" / document["run_id"]
    predictions = pq.read_table(run / "predictions.parquet").to_pylist()
    return document, predictions, Path(document["report"]).read_text(), load_recipe(run / "recipe.toml")


def judged(predictions):
    """How often each file was judged by the fusion, and in which fold."""
    rows = [row for row in predictions if row["model"] == "fusion"]
    return Counter(row["uri"] for row in rows), {row["uri"]: row["fold"] for row in rows}


def n_windows(store, recipe):
    """How many windows every clip is scored by, by its uri; and the corpus."""
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    windows = scoring_windows(np.arange(len(corpus.examples)), corpus.ticks, recipe)
    return Counter(corpus.examples[window.clip].uri for window in windows), corpus


def test_esc50_and_its_subset_esc10_from_archive_to_report(timbrel_here, tmp_path):
    generated.make_esc50(tmp_path / "ESC-50")
    store = prepare(timbrel_here, tmp_path, "esc50", "ESC-50", FOUR)
    fewer = (*ONLY_TWO, "--set", "split.test_folds=[2, 5]")
    for recipe, labels, folds, streams, words in (
        ("esc10.toml", generated.ESC10, {1, 2, 3, 4, 5}, FOUR, ()),
        ("esc50.toml", (*generated.ESC10, *generated.OTHERS_OF_ESC50), {2, 5}, TWO, fewer),
    ):
        document, predictions, report, recorded = train(timbrel_here, store, recipe, "--seed", "3", *words)
        assert document["labels"] == sorted(labels)
        assert (document["n_test"], document["n_folds"]) == (len(folds) * len(labels), len(folds))
        assert document["task"] == "single_label"
        assert document["provenance"]["seed"] == recorded.fit.seed == 3
        assert recorded.fit.epochs == 1
        models = {model["name"]: model for model in document["models"]}
        assert {*streams.split(","), "fusion", "majority class"} <= set(models)
        assert all(set(model["metrics"]) == {"accuracy", "macro_f1"} for model in models.values())
        assert models["pooled timbre"]["metrics"]["accuracy"]["value"] > 0.5  # there is something to hear
        times, fold_of = judged(predictions)
        assert set(times.values()) == {1}
        assert set(fold_of.values()) == folds
        assert all(Path(uri).name.startswith(f"{fold}-") for uri, fold in fold_of.items())
        assert all(label in report for label in labels)
        counts, _ = n_windows(open_store(store), recorded)
        assert set(counts.values()) == {1}


def test_urbansound8k_from_archive_to_report(timbrel_here, tmp_path):
    generated.make_urbansound8k(tmp_path / "UrbanSound8K")
    store = prepare(timbrel_here, tmp_path, "urbansound8k", "UrbanSound8K", TWO)
    document, predictions, report, recorded = train(timbrel_here, store, "urbansound8k.toml", *ONLY_TWO, epochs=1)
    files = sorted((tmp_path / "UrbanSound8K").rglob("*.wav"))
    assert (document["n_test"], document["n_folds"]) == (len(files), 10)
    assert document["labels"] == sorted(generated.URBAN)
    times, folds = judged(predictions)
    assert times == {f.relative_to(tmp_path / "UrbanSound8K").as_posix(): 1 for f in files}
    assert all(Path(uri).parent.name == f"fold{fold}" for uri, fold in folds.items())
    assert document["notes"] == []  # no recording on two sides, no label without clips
    assert all(label in report for label in generated.URBAN)
    counts, _ = n_windows(open_store(store), recorded)
    assert set(counts.values()) == {1}


def test_fsd50k_from_archive_to_report(timbrel_here, tmp_path):
    root = tmp_path / "FSD50K"
    generated.make_fsd50k(root)
    store = prepare(timbrel_here, tmp_path, "fsd50k", "FSD50K", TWO)
    document, predictions, report, recorded = train(timbrel_here, store, "fsd50k.toml", *ONLY_TWO, epochs=3)
    assert (document["task"], document["headline"]) == ("multi_label", "map")
    sizes = [document[name] for name in ("n_train", "n_validation", "n_test", "n_folds")]
    assert sizes == [*generated.FSD_CLIPS.values(), 1]
    assert document["labels"] == sorted({label for above in generated.FSD_LEAVES.values() for label in above})
    models = {model["name"]: model for model in document["models"]}
    assert {*TWO.split(","), "fusion"} <= set(models)
    assert all(set(model["metrics"]) == {"map", "mauc", "d_prime"} for model in models.values())
    assert models["pooled timbre"]["metrics"]["map"]["value"] > models["majority class"]["metrics"]["map"]["value"]
    times, _ = judged(predictions)
    assert times == {f"FSD50K.eval_audio/{path.name}": 1 for path in (root / "FSD50K.eval_audio").iterdir()}
    assert all(name in report for name in ("mAP", "mAUC", "Plucked_string_instrument"))

    counts, corpus = n_windows(open_store(store), recorded)
    lengths = {example.uri: example.duration_s for example in corpus.examples}
    assert counts == {uri: {2.0: 2, 0.4: 1, 1.5: 2}[seconds] for uri, seconds in lengths.items()}
    check_tokens(corpus)

    expected = {row["uri"]: row["probabilities"] for row in predictions if row["model"] == "fusion"}
    for uri in list(expected)[:3]:  # the second is stereo at 22.05 kHz
        code, out, _ = timbrel_here("predict", document["run_id"], root / uri, "--store", store, "--json")
        assert code == 0
        assert list(json.loads(out)[0]["scores"].values()) == pytest.approx(expected[uri], abs=1e-4)


def test_the_demos_recipe_from_rendered_notes_to_report(timbrel_here, tmp_path):
    generated.make_general_midi(tmp_path / "notes")
    store = prepare(timbrel_here, tmp_path, "general_midi", "notes", TWO)
    document, predictions, report, _ = train(timbrel_here, store, DEMO, *ONLY_TWO)
    n_programs = len(generated.PROGRAMS)
    assert (document["n_test"], document["n_folds"]) == (2 * n_programs, 1)
    assert document["n_train"] + document["n_validation"] == (generated.NOTES - 2) * n_programs
    times, _ = judged(predictions)
    assert sorted(times) == [
        f"{program:03}/{program:03}-{pitch:03}-100.flac" for program in generated.PROGRAMS for pitch in (52, 53)
    ]
    assert all(label in report for label in generated.PROGRAMS.values())


def check_tokens(corpus):
    """A window of one second is 40 tokens of 25 ms, wherever in a clip of two seconds it lies."""
    long = np.flatnonzero(corpus.ticks == 2000)
    assert len(long) > 5
    for stream, frames in corpus.frames.items():
        scored: list[Window] = [w for i in long.tolist() for w in windows_of(i, 2000, 1000, 1000)]
        assert set(cut_tokens(frames, scored).mask.sum(axis=1).tolist()) == {40}
        shown = random_windows(long, corpus.ticks[long], 1000, np.random.default_rng(0))
        counts = set(cut_tokens(frames, shown).mask.sum(axis=1).tolist())
        assert counts <= ({40} if stream == "timbre" else {40, 41})  # blocks: those that overlap its ends
