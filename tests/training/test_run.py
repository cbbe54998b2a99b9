import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.cli.output import print_result
from storage_schema.errors import InputError, StoreError
from storage_schema.store import Store, open_store
from tests.training.synthetic import BLOCKS, CENTRED, clip_id, clip_row, make_store, noise, put
from training.judge import FUSION, MAJORITY
from training.recipe import Recipe, load_recipe, parse_recipe
from training.report import render_report
from training.results import ModelResult, RunResult
from training.run import evaluate, read_result, train

SMALL = '[data]\ndataset = "made"\nstreams = ["timbre"]\n[model]\ndim = 8\nlayers = 1\nheads = 1\n[fit]\nepochs = 1\n'


def row(result: RunResult, name: str) -> ModelResult:
    return next(model for model in result.models if model.name == name)


def test_every_model_stands_in_the_table_with_an_interval(result: RunResult, recipe: Recipe) -> None:
    names = [model.name for model in result.models]
    assert names[0] == MAJORITY
    assert names[-1] == FUSION
    assert set(recipe.data.streams) < set(names)
    assert len(names) == 1 + 4 + 1 + 4 + 1
    for model in result.models:
        assert set(model.metrics) == {"accuracy", "macro_f1"}
        assert all(0 <= m.low <= m.value <= m.high <= 1 for m in model.metrics.values())
        assert sum(map(sum, model.confusion)) == result.n_test == 54
    assert result.n_folds == 3
    assert row(result, MAJORITY).metrics["accuracy"].value == pytest.approx(1 / 3)


def test_fusion_learns_from_the_streams_that_speak_and_leaves_the_others_alone(result: RunResult) -> None:
    fusion = row(result, FUSION)
    best = max(row(result, stream).metrics["accuracy"].value for stream in ("timbre", "neural"))
    assert best > 0.85
    assert fusion.metrics["accuracy"].value >= best - 0.06
    weights = fusion.fusion_weights
    assert max(weights["pitch"], weights["waveform"]) < 0.15 * max(weights.values())


def test_fusion_is_compared_with_every_stream_and_the_best_baseline(result: RunResult) -> None:
    assert {c.name for c in result.comparisons} == {FUSION}
    others = [c.other for c in result.comparisons]
    assert set(others[:4]) == {"pitch", "timbre", "neural", "waveform"}
    assert row(result, others[4]).kind == "baseline"
    scores = [row(result, other).metrics["accuracy"].value for other in others[:4]]
    assert scores == sorted(scores, reverse=True)


def test_a_run_leaves_its_recipe_its_figures_and_its_predictions(
    result: RunResult, run_folder: Path, recipe: Recipe
) -> None:
    assert read_result(run_folder) == result
    assert load_recipe(run_folder / "recipe.toml") == recipe
    assert parse_recipe(result.provenance.recipe, "provenance") == recipe
    table = pq.read_table(run_folder / "predictions.parquet")
    labels = json.loads(table.schema.metadata[b"labels"])
    assert labels == list(result.labels)
    assert table.num_rows == result.n_test * len(result.models)
    for model in result.models:
        mine = [line for line in table.to_pylist() if line["model"] == model.name]
        hits = [labels[int(np.argmax(line["probabilities"]))] == line["labels"][0] for line in mine]
        assert np.mean(hits) == pytest.approx(model.metrics["accuracy"].value)
        assert np.sum([line["probabilities"] for line in mine], axis=1) == pytest.approx(np.ones(54), abs=1e-4)


def test_the_same_recipe_and_snapshot_give_the_same_figures(store: Store, recipe: Recipe) -> None:
    data = recipe.data.model_copy(update={"streams": ("timbre", "neural")})
    quick = recipe.model_copy(update={"data": data, "split": recipe.split.model_copy(update={"test_folds": (2,)})})
    snapshot = store.snapshot()
    result, again = (train(store, quick, snapshot=snapshot, device="cpu", run_id=name) for name in ("one", "two"))
    for one, other in zip(result.models, again.models, strict=True):
        assert one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})
    assert result.comparisons == again.comparisons


def test_evaluating_a_run_again_gives_its_figures(store: Store, result: RunResult) -> None:
    assert evaluate(store, "first") == result


def test_a_run_id_is_used_once_and_leads_nowhere_else(store: Store, result: RunResult, recipe: Recipe) -> None:
    with pytest.raises(InputError, match="there is a run 'first' in the store at"):
        train(store, recipe, run_id="first")
    with pytest.raises(InputError, match="no name for a run"):
        train(store, recipe, run_id="../first")


def test_a_run_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)])

    def give_up(what: str, done: int, total: int) -> None:
        if what == "judging":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(store, parse_recipe(SMALL, "small"), device="cpu", on_progress=give_up)
    assert store.runs() == []


def test_progress_is_reported_after_every_epoch(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)])
    heard: list[tuple[str, int, int]] = []
    train(store, parse_recipe(SMALL, "small"), device="cpu", on_progress=lambda *event: heard.append(event))
    assert ("fold 1, timbre", 1, 1) in heard
    assert heard[0] == ("reading features", 0, 1)
    assert heard[-1] == ("judging", 4, 4)  # the scores of three folds, then the intervals


def test_missing_features_stop_the_run_unless_the_recipe_drops_the_clips(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)])
    store.merge_clips(
        [
            clip_row("new.wav", ["dog"], fold=1, source_group="new"),
            clip_row("gone.wav", ["dog"], clip_id=None, problem_kind="vanished", problem="it is gone"),
        ]
    )
    recipe = parse_recipe(SMALL, "small")
    with pytest.raises(InputError, match=r"1 of 37 clips have no timbre features .such as new.wav.; 1 files could not"):
        train(store, recipe, device="cpu")
    drops = recipe.model_copy(update={"data": recipe.data.model_copy(update={"missing": "drop"})})
    result = train(store, drops, device="cpu")
    assert result.n_test == 36
    assert "2 clips without all features were left out" in result.rule


def test_a_stream_that_was_never_extracted_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(CENTRED, 1.0)])
    with pytest.raises(InputError, match="nothing of stream pitch"):
        train(store, parse_recipe(SMALL.replace("timbre", "pitch"), "small"), device="cpu")


def test_a_multi_label_run_is_judged_by_map_mauc_and_d_prime(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    generator = np.random.default_rng(0)
    rows, clips = [], {}
    for i in range(60):
        heard = [label for j, label in enumerate(("bell", "dog", "rain")) if i >> j & 1]
        split = ("train", "train", "test")[i // 20]
        rows.append(clip_row(f"{i}.wav", heard, split=split))
        arrays = noise(CENTRED, 1.0, generator)
        for j, label in enumerate(("bell", "dog", "rain")):
            arrays["descriptors"][:, j] += 2.0 * (label in heard)
        clips[clip_id(f"{i}.wav")] = arrays
    store.merge_clips(rows)
    put(store, CENTRED, clips)
    put(store, BLOCKS, {name: noise(BLOCKS, 1.0, generator) for name in clips})
    text = SMALL.replace('["timbre"]', '["timbre", "neural"]').replace(
        "epochs = 1", "epochs = 20\nlearning_rate = 0.01\nmixup = 0"
    )
    recipe = parse_recipe('task = "multi_label"\n' + text + '[split]\nkind = "official"\n', "multi")
    result = train(store, recipe, device="cpu", run_id="multi")
    fusion = row(result, FUSION)
    assert set(fusion.metrics) == {"map", "mauc", "d_prime"}
    assert result.headline == "map"
    assert fusion.metrics["map"].value > 0.9
    assert fusion.fusion_weights["neural"] < 0.3 * fusion.fusion_weights["timbre"]
    assert fusion.confusion == ()
    assert evaluate(store, "multi") == result


def test_a_run_without_a_figure_says_so_and_shows_dashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(tmp_path / "store", create=True)
    rows = [
        clip_row(
            f"{i}.wav", [] if i >= 20 else [("bell", "dog")[i % 2]], split=("train", "validation", "test")[i // 10]
        )
        for i in range(30)
    ]
    store.merge_clips(rows)  # no clip of the test, as if its labels had been kept secret
    put(store, CENTRED, {clip_id(one.uri): noise(CENTRED, 1.0, np.random.default_rng(0)) for one in rows})
    text = 'task = "multi_label"\n' + SMALL + '[split]\nkind = "official"\n'
    result = train(store, parse_recipe(text, "unlabelled"), device="cpu", run_id="unlabelled")
    assert all(model.metrics == {} for model in result.models)
    assert result.comparisons == ()
    assert result.notes == ("No test clip carries 'bell', 'dog': learned, but no figure speaks of it.",)
    assert evaluate(store, "unlabelled") == result  # what metrics.json says can be read again
    print_result(result)
    out = capsys.readouterr().out
    assert "–" in out
    assert f"note: {result.notes[0]}" in out
    assert "No test clip carries &#39;bell&#39;, &#39;dog&#39;" in render_report(result)


def test_a_folder_that_is_no_run_is_a_store_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no finished run"):
        evaluate(store, "never")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(StoreError, match="no result of a run"):
        read_result(tmp_path)


def test_training_imports_neither_extractors_nor_the_pipeline() -> None:
    program = (
        "import sys, training.run, training.predict; "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('features', 'pipeline', 'flows', 'essentia', 'librosa', 'distributed', 'prefect')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_says_where_its_time_went(result: RunResult) -> None:
    assert set(result.timing) == {"reading", "fitting", "batches", "judging", "rest"}
    assert all(seconds >= 0 for seconds in result.timing.values())
    assert result.timing["fitting"] > result.timing["batches"] > 0
