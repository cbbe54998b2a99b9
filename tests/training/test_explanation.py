"""A run and its clips divided among the streams: the parts are those of the very scores the run wrote down."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage_schema.errors import InputError
from storage_schema.layout import run_key
from tests.training.synthetic import CENTRED, clip_id, clip_row, make_store
from training.explanation import explain_clip, explain_run, find_clip
from training.judge import FUSION, score_clips
from training.recipe import parse_recipe
from training.run import open_finished, train

STREAMS = ("pitch", "timbre", "neural", "waveform")


@pytest.fixture(scope="module")
def run(store, result):
    return open_finished(store, result.run_id)


@pytest.fixture(scope="module")
def written(store, result):
    """What the run's fusion said of each test clip when it was judged: uri to fold, true label, probabilities."""
    table = pq.read_table(store.files.path(run_key(result.run_id)) / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"labels"]) == list(result.labels)
    return {row["uri"]: row for row in table.to_pylist() if row["model"] == FUSION}


def total(parts):
    return parts.base + sum(parts.streams.values())


def test_a_class_is_the_mean_of_what_its_test_clips_were_given_for_it(run, written):
    found = explain_run(run)
    assert (found.run_id, found.snapshot, found.streams) == ("first", run.snapshot.id, STREAMS)
    assert found.n_clips == len(written) == 54
    assert [(each.label, each.n_clips) for each in found.classes] == [("bell", 18), ("dog", 18), ("rain", 18)]
    for column, each in enumerate(found.classes):
        given = [row["probabilities"][column] for row in written.values() if row["labels"] == [each.label]]
        assert each.parts.score == pytest.approx(np.mean(given), abs=1e-5)
        assert total(each.parts) == pytest.approx(each.parts.score, abs=1e-12)
        assert each.parts.base == pytest.approx(1 / 3, abs=1e-6)  # who hears nothing guesses
    scores = [each.parts.score for each in found.classes]
    assert found.overall.score == pytest.approx(np.mean(scores), abs=1e-9)  # classes of one size


def test_the_streams_that_tell_the_classes_apart_carry_them(run):
    carried = explain_run(run).overall.streams
    told = carried["timbre"] + carried["neural"]
    assert told > 0.3
    assert told > 0.9 * sum(carried.values())
    assert max(carried["pitch"], carried["waveform"]) < 0.1


def test_a_clip_with_several_labels_counts_for_each_and_one_without_for_none(run):
    test = run.corpus.folds[0].test
    targets = np.zeros_like(run.corpus.targets)
    targets[test[0], :2] = 1
    targets[test[1], 1] = 1
    found = explain_run(replace(run, corpus=replace(run.corpus, targets=targets)))
    assert [(each.label, each.n_clips) for each in found.classes] == [("bell", 1), ("dog", 2)]
    bell, dog = (each.parts.score for each in found.classes)
    assert found.overall.score == pytest.approx((bell + 2 * dog) / 3)
    silent = explain_run(replace(run, corpus=replace(run.corpus, targets=np.zeros_like(targets))))
    assert (silent.overall, silent.classes, silent.n_clips) == (None, (), 54)


def test_a_test_clip_is_explained_by_the_models_that_judged_it(run, written):
    for uri in ("bell/0.wav", "dog/4.wav", "rain/17.wav"):
        found = explain_clip(run, uri)
        row = written[uri]
        assert (found.uri, found.clip_id, found.fold) == (uri, row["clip_id"], row["fold"])
        assert list(found.labels) == row["labels"]
        given = dict(zip(run.corpus.labels, row["probabilities"], strict=True))
        assert {label: parts.score for label, parts in found.parts.items()} == pytest.approx(given, abs=1e-5)
        assert list(found.parts) == sorted(given, key=lambda label: -given[label])
        assert all(total(parts) == pytest.approx(parts.score, abs=1e-12) for parts in found.parts.values())
        assert tuple(found.parts[row["labels"][0]].streams) == STREAMS


def test_a_clip_that_no_fold_tests_is_the_mean_of_all_folds(run):
    corpus = replace(run.corpus, folds=run.corpus.folds[:2])
    two = replace(run, corpus=corpus, models=run.models[:2])
    index = int(run.corpus.folds[2].test[0])
    found = explain_clip(two, corpus.examples[index].uri)
    assert found.fold is None
    only = np.array([index])
    each = [score_clips(model, corpus.frames, only, corpus.ticks)[FUSION][0] for model in two.models]
    scores = [found.parts[label].score for label in corpus.labels]
    np.testing.assert_allclose(scores, np.mean(each, axis=0), atol=1e-6)


def test_progress_counts_the_models_that_are_asked(run):
    heard = []
    explain_run(run, lambda *event: heard.append(event))
    assert heard == [("explaining", done, 3) for done in range(4)]
    heard.clear()
    explain_clip(run, "dog/1.wav", lambda *event: heard.append(event))
    assert heard == [("explaining", 0, 1), ("explaining", 1, 1)]


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A run of one stream that leaves clips out: one without features, one that could not be read; and with a copy."""
    store = make_store(tmp_path_factory.mktemp("partial") / "store", [(CENTRED, 1.0)])
    store.merge_clips(
        [
            clip_row("copy of dog.wav", ["dog"], clip_id=clip_id("dog/1.wav"), fold=2, source_group="dog 1"),
            clip_row("dog/1.wav.flac", ["dog"], fold=1, source_group="later"),
            clip_row("gone.wav", ["dog"], clip_id=None, problem_kind="vanished", problem="it is gone."),
            clip_row("dog/other.wav", ["dog"], dataset="another"),
        ]
    )
    recipe = parse_recipe(
        '[data]\ndataset = "made"\nstreams = ["timbre"]\nmissing = "drop"\n'
        "[model]\ndim = 8\nlayers = 1\nheads = 1\n[fit]\nepochs = 1\n",
        "partial",
    )
    train(store, recipe, device="cpu", run_id="partial")
    return open_finished(store, "partial")


def test_a_clip_is_found_by_its_uri_its_id_the_beginning_of_either_and_any_copy_of_it(partial):
    uris = [example.uri for example in partial.corpus.examples]
    there = uris[find_clip(partial, clip_id("dog/1.wav"))]
    assert there in ("dog/1.wav", "copy of dog.wav")
    for name in ("dog/1.wav", "copy of dog.wav", "copy", clip_id("dog/1.wav")[:12]):
        assert uris[find_clip(partial, name)] == there
    assert uris[find_clip(partial, "rain/3")] == "rain/3.wav"
    assert uris[find_clip(partial, "bell/3.wav")] == "bell/3.wav"
    assert uris[find_clip(partial, "rain/1.wav")] == "rain/1.wav"


def test_the_name_of_a_file_without_its_folder_is_enough_where_no_other_has_it(run):
    table = pa.table({"dataset": ["made"] * 2, "uri": ["a/rain/3.wav", "a/rain/33.wav"], "problem": [None, None]})
    ids = pa.array([run.corpus.examples[i].clip_id for i in (5, 6)])
    nested = replace(run, snapshot=SimpleNamespace(id="1-1", clips=table.append_column("clip_id", ids)))
    for name in ("3.wav", "rain/3.wav", "a/rain/3.wav"):
        assert find_clip(nested, name) == 5
    assert find_clip(nested, "a/rain/33") == 6


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("dgo/1.wav", r"made has no clip 'dgo/1.wav' in snapshot \S+; the closest: dog/1.*\.wav, "),
        ("???", r"made has no clip '\?\?\?' in snapshot \S+; write its uri or clip_id, such as "),
        ("dog/other.wav", "made has no clip 'dog/other.wav'"),
        ("rain/1", r"3 clips of made begin with 'rain/1', such as rain/1\S*, rain/1\S*, rain/1\S*; write more of"),
        ("3.wav", r"3 clips of made end with '3.wav', such as \S+/3.wav, \S+/3.wav, \S+/3.wav; write more of"),
        ("", "begin with ''"),
        ("gone", "gone.wav could not be read at ingest, so that nothing can be said of it: it is gone."),
        ("dog/1.wav.flac", "run partial leaves dog/1.wav.flac out: .* lacks one of the streams timbre"),
    ],
)
def test_a_name_that_is_no_one_clip_of_the_run_is_a_sentence(partial, name, sentence):
    with pytest.raises(InputError, match=sentence):
        find_clip(partial, name)


def test_a_run_of_one_stream_gives_it_all_that_was_not_guessed(partial):
    found = explain_run(partial)
    assert found.streams == ("timbre",)
    for each in found.classes:
        assert each.parts.streams == pytest.approx({"timbre": each.parts.score - each.parts.base})
