"""CLAP's baselines stand in every table: run where the store holds the stream, and named with a reason where not."""

from dataclasses import replace

import numpy as np
import pytest

from flows.cli.output import print_result
from storage_schema.labels import LabelEmbeddings
from storage_schema.layout import labels_key
from storage_schema.store import open_store
from tests.training.synthetic import BLOCKS, CENTRED, make_store, noise, put
from training.baselines import logistic_regression
from training.clap import NO_WEIGHTS, PROBE, ZERO_SHOT, zero_shot
from training.corpus import load_corpus
from training.recipe import parse_recipe
from training.report import render_report
from training.run import evaluate, train

CLAP = replace(BLOCKS, stream="clap")
LABELS = ("bell", "dog", "rain")
WORDS = LabelEmbeddings(LABELS, LABELS, np.eye(3, 6, dtype=np.float32), 10.0)
RECIPE = """
[data]
dataset = "made"
streams = {streams}
[split]
test_folds = [1]
[window]
length_s = 1
hop_s = 1
[model]
dim = 8
layers = 1
heads = 2
[fit]
epochs = 1
"""


def recipe(*streams):
    return parse_recipe(RECIPE.format(streams=list(streams)), "the test's recipe")


def run(store, *streams, run_id=None):
    result = train(store, recipe(*streams), device="cpu", run_id=run_id)
    return result, {model.name: model for model in result.models}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Timbre is noise; the stream clap tells the labels apart, and so do its words."""
    store = make_store(tmp_path_factory.mktemp("clap") / "store", [(CENTRED, 0.0), (CLAP, 6.0)])
    store.write_label_embeddings(CLAP, WORDS)
    return store


@pytest.fixture(scope="module")
def aside(store):
    """A run whose recipe does not name the stream."""
    return run(store, "timbre", run_id="aside")


def test_both_baselines_are_run_though_the_recipe_does_not_name_the_stream(aside):
    result, models = aside
    assert result.not_run == {}
    assert list(models) == ["majority class", "pooled timbre", ZERO_SHOT, PROBE, "timbre"]
    assert [models[name].kind for name in (ZERO_SHOT, PROBE)] == ["baseline", "baseline"]
    assert models[ZERO_SHOT].metrics["accuracy"].value > 0.9  # and it was shown no clip
    assert models[PROBE].metrics["accuracy"].value > 0.9
    assert models["timbre"].metrics["accuracy"].value < 0.8
    assert models[ZERO_SHOT].n_parameters == 0
    assert result.provenance.clap == CLAP.fingerprint
    assert set(result.provenance.fingerprints) == {"timbre"}


def test_zero_shot_is_the_nearest_label_and_the_probe_a_logistic_regression_on_pooled_embeddings(store, aside):
    import pyarrow.parquet as pq

    rows = pq.read_table(store.files.path("runs/aside/predictions.parquet")).to_pylist()
    corpus = load_corpus(store.snapshot(), recipe("timbre"), fingerprints={})
    fold = corpus.folds[0]
    reader = store.snapshot().stream("clap")
    pooled = {}
    for example in corpus.examples:
        values = reader.read(example.clip_id)["embedding"].astype(np.float32)
        pooled[example.clip_id] = np.concatenate([values.mean(axis=0), values.std(axis=0)])
    both = np.union1d(fold.train, fold.validation)
    learned = np.array([pooled[corpus.examples[i].clip_id] for i in both])
    probe = logistic_regression(["clap"], learned, corpus.targets[both], corpus.task)
    seen = {name: [row for row in rows if row["model"] == name] for name in (ZERO_SHOT, PROBE)}
    assert len(seen[ZERO_SHOT]) == len(seen[PROBE]) == len(fold.test)
    for shot, probed in zip(seen[ZERO_SHOT], seen[PROBE], strict=True):
        mean = pooled[shot["clip_id"]][None]
        scores = np.exp(10 * (mean[:, :6] @ WORDS.vectors.T)[0])
        np.testing.assert_allclose(shot["probabilities"], scores / scores.sum(), atol=1e-5)
        expected = probe.probabilities(pooled[probed["clip_id"]][None], corpus.task)[0]
        np.testing.assert_allclose(probed["probabilities"], expected, atol=1e-5)


def test_an_evaluation_repeats_both_and_one_with_the_stream_in_the_recipe_gives_the_same(store, aside):
    again = evaluate(store, "aside")
    assert [(m.name, m.metrics) for m in again.models] == [(m.name, m.metrics) for m in aside[0].models]
    _, named = run(store, "timbre", "clap")
    assert {"timbre", "clap", "fusion", "pooled timbre", "pooled streams, side by side", ZERO_SHOT, PROBE} <= set(named)
    assert "pooled clap" not in named  # it is the linear probe
    for name in (ZERO_SHOT, PROBE):
        assert named[name].metrics == aside[1][name].metrics


def test_a_newer_clap_changes_nothing_of_a_run_that_is_evaluated(store, aside, tmp_path):
    import shutil

    copy = open_store(shutil.copytree(store.files.root, tmp_path / "copy"))
    newer = replace(CLAP, version=2)
    rng = np.random.default_rng(9)
    put(copy, newer, {clip_id: noise(newer, 1.0, rng) for clip_id in store.snapshot().stream("clap").clip_ids})
    again = {model.name: model for model in evaluate(copy, "aside", copy.snapshot()).models}
    assert again[PROBE].metrics == aside[1][PROBE].metrics


def test_without_weights_the_table_the_terminal_and_the_report_say_so(tmp_path, capsys):
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)])
    result, models = run(store, "timbre")
    assert result.not_run == {ZERO_SHOT: NO_WEIGHTS, PROBE: NO_WEIGHTS}
    assert not {ZERO_SHOT, PROBE} & set(models)
    print_result(result)
    lines = capsys.readouterr().out.splitlines()
    for name in (ZERO_SHOT, PROBE):
        (line,) = [line for line in lines if line.startswith(name)]
        assert line.split(name)[1].split() == ["–", "not", "run:", "no", "weights", "–"]
    page = render_report(result)
    assert page.count("not run: no weights") == 2
    assert [evaluate(store, result.run_id).not_run] == [result.not_run]


def test_a_clip_without_the_stream_and_labels_without_words_are_said(tmp_path):
    store = make_store(tmp_path / "store", [(CENTRED, 1.0), (CLAP, 6.0)])

    def why():
        return load_corpus(store.snapshot(), recipe("timbre"), fingerprints={}).clap.not_run

    assert list(why()) == [ZERO_SHOT]
    assert "no label is embedded" in why()[ZERO_SHOT]
    store.write_label_embeddings(CLAP, replace(WORDS, labels=("bell", "dog", "snow")))
    assert "1 labels are not embedded (such as 'rain')" in why()[ZERO_SHOT]
    store.write_label_embeddings(CLAP, replace(WORDS, vectors=np.eye(3, 7, dtype=np.float32)))
    assert "not of one length" in why()[ZERO_SHOT]
    store.files.write(labels_key("clap", CLAP.fingerprint), b"damaged")
    assert "is damaged" in why()[ZERO_SHOT]
    clip_ids = store.snapshot().stream("clap").clip_ids
    store.requeue("clap", CLAP.fingerprint, clip_ids[:2])
    assert why() == dict.fromkeys((ZERO_SHOT, PROBE), "2 of 36 clips have no clap features")
    store.requeue("clap", CLAP.fingerprint, clip_ids)
    assert why() == dict.fromkeys((ZERO_SHOT, PROBE), NO_WEIGHTS)


def test_cosines_of_several_labels_stay_apart_whatever_the_models_scale():
    labels = np.eye(2, 4, dtype=np.float32)
    pooled = np.zeros((3, 8), np.float32)
    pooled[:, 0] = [0.5, 0.51, 0.52]  # times 100 and through a sigmoid, all three are 1
    ranked = zero_shot(labels, 100.0, "multi_label").probabilities(pooled, "multi_label")[:, 0]
    assert np.all(np.diff(ranked) > 1e-3)
