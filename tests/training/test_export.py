"""An exported folder says what the run's own models say, and is refused where it is not as it was written."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from flows.export import licence_notes
from storage_schema.errors import InputError, StoreError
from storage_schema.layout import run_key
from storage_schema.store import Store
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, WAVEFORM
from training.corpus import Corpus, load_corpus
from training.encoders import StreamEncoder
from training.export import export_models
from training.export_document import DOCUMENT, GRAPH, TENSORS
from training.exported import Exported, load_exported
from training.inputs import encoder_shape
from training.joint import make_joint
from training.judge import FUSION, score_clips
from training.model import FoldModel, clip_embeddings, subset_probabilities
from training.recipe import Recipe
from training.results import RunResult
from training.run import load_models, read_result, train
from training.sealed import blake2b, sealed, unsealed
from training.windows import Window, windows_of

CLIPS = np.arange(5)


@pytest.fixture(scope="module")
def corpus(store: Store, recipe: Recipe) -> Corpus:
    return load_corpus(store.snapshot(), recipe, fingerprints={})


@pytest.fixture(scope="module")
def folder(store: Store, result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of the run "first", exported."""
    run = store.files.path(run_key("first"))
    models = load_models(run)
    notes = {"pitch": "MIT"}
    path = tmp_path_factory.mktemp("export") / "first"
    export_models(path, {number: models[number] for number in (1, 2)}, read_result(run), notes)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """An export that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def one_clip(corpus: Corpus, clip: int) -> dict[str, dict[str, NDArray]]:
    """The arrays of one clip by stream, as its extractors make them."""
    return {
        stream: {name: values[held.rows(np.array([clip]))] for name, values in held.arrays.items()}
        for stream, held in corpus.frames.items()
    }


def fused(models: Mapping[int, FoldModel], corpus: Corpus) -> NDArray[np.float32]:
    """What the run's own models say of CLIPS, averaged."""
    name = FUSION if len(corpus.frames) > 1 else next(iter(corpus.frames))
    found = [score_clips(model, corpus.frames, CLIPS, corpus.ticks)[name] for model in models.values()]
    return np.mean(found, axis=0)


def test_an_export_says_what_the_runs_models_say(store: Store, folder: Path, corpus: Corpus) -> None:
    models = load_models(store.files.path(run_key("first")))
    wanted = fused({number: models[number] for number in (1, 2)}, corpus)
    exported = load_exported(folder)
    for clip in CLIPS:
        found = exported.score(one_clip(corpus, clip), corpus.specs, corpus.ticks[clip] / 1000)
        np.testing.assert_allclose(found, wanted[clip], atol=1e-5)
    assert exported.labels == corpus.labels


def test_an_export_hears_a_clip_without_some_streams(store: Store, folder: Path, corpus: Corpus) -> None:
    models = load_models(store.files.path(run_key("first")))
    parts = [
        subset_probabilities(models[number], corpus.frames, CLIPS, corpus.ticks, [("timbre",), ("pitch", "neural")])
        for number in (1, 2)
    ]
    wanted = np.mean(parts, axis=0)  # (n_subsets, n_clips, n_labels)
    exported = load_exported(folder)
    for i, lacking in enumerate((("pitch", "neural", "waveform"), ("timbre", "waveform"))):
        features = {stream: arrays for stream, arrays in one_clip(corpus, 0).items() if stream not in lacking}
        found = exported.score(features, corpus.specs, corpus.ticks[0] / 1000, without=lacking)
        np.testing.assert_allclose(found, wanted[i, 0], atol=1e-5)
    with pytest.raises(InputError, match="timbre did not come"):
        exported.score({"neural": one_clip(corpus, 0)["neural"]}, corpus.specs, 1.0, without=("pitch", "waveform"))
    with pytest.raises(InputError, match="nothing is left to hear"):
        exported.score({}, corpus.specs, 1.0, without=tuple(corpus.specs))


def an_unfitted_fold(corpus: Corpus, recipe: Recipe) -> FoldModel:
    """A joint model as random as it starts, with statistics of its own for the normalisation."""
    shapes = {stream: encoder_shape(held.spec, len(corpus.labels), recipe) for stream, held in corpus.frames.items()}
    torch.manual_seed(1)
    joint = make_joint(recipe, shapes).eval()
    for name, values in joint.state_dict().items():
        if name.endswith((".mean", ".std")):
            values.uniform_(0.5, 1.5)
    encoders = {stream: StreamEncoder(shape).eval() for stream, shape in shapes.items()}
    return FoldModel(corpus.task, corpus.labels, recipe, corpus.specs, encoders, joint, {})


@pytest.mark.parametrize("kind", ["feature", "representation", "both"])
def test_every_kind_of_fusion_is_exported(
    kind: str, store: Store, recipe: Recipe, result: RunResult, tmp_path: Path
) -> None:
    changes = {
        "data": recipe.data.model_copy(update={"streams": ("timbre", "neural")}),
        "fusion": recipe.fusion.model_copy(update={"kind": kind}),
    }
    joint = recipe.model_copy(update=changes)
    corpus = load_corpus(store.snapshot(), joint, fingerprints={})
    models = {2: an_unfitted_fold(corpus, joint)}
    assert export_models(tmp_path / "out", models, result, {}).difference < 1e-5
    exported = load_exported(tmp_path / "out")
    for clip, wanted in zip(CLIPS, fused(models, corpus), strict=True):
        found = exported.score(one_clip(corpus, clip), corpus.specs, corpus.ticks[clip] / 1000)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    lacking = subset_probabilities(models[2], corpus.frames, CLIPS[:1], corpus.ticks, [("neural",)])[0, 0]
    heard = {"neural": one_clip(corpus, 0)["neural"]}
    found = exported.score(heard, corpus.specs, corpus.ticks[0] / 1000, without=("timbre",))
    np.testing.assert_allclose(found, lacking, atol=1e-5)
    embedded = exported.score_windows(corpus.frames, windows_of_first(corpus, exported))[1].mean(axis=0)
    expected = clip_embeddings(models[2], corpus.frames, CLIPS[:1], corpus.ticks)[0]
    np.testing.assert_allclose(embedded, expected, atol=1e-5)


def windows_of_first(corpus: Corpus, exported: Exported) -> list[Window]:
    return windows_of(0, int(corpus.ticks[0]), exported.document.length, round(exported.document.hop_s * 1000))


def test_one_stream_alone_is_exported_and_so_are_several_labels(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    changes = {
        "task": "multi_label",
        "data": recipe.data.model_copy(update={"streams": ("timbre",)}),
        "fit": recipe.fit.model_copy(update={"epochs": 1}),
        "split": recipe.split.model_copy(update={"test_folds": (2,)}),
    }
    alone = recipe.model_copy(update=changes)
    result = train(store, alone, device="cpu", run_id="exported-alone")
    models = load_models(store.files.path(run_key(result.run_id)))
    export_models(tmp_path / "out", models, result, {})
    corpus = load_corpus(store.snapshot(), alone, fingerprints={})
    exported = load_exported(tmp_path / "out")
    found = exported.score(one_clip(corpus, 3), corpus.specs, corpus.ticks[3] / 1000)
    np.testing.assert_allclose(found, fused(models, corpus)[3], atol=1e-5)
    assert exported.document.fusion == "alone"


def test_the_folder_says_what_it_is(folder: Path, store: Store) -> None:
    document = json.loads((folder / DOCUMENT).read_text())
    assert (document["labels"], document["task"], document["folds"]) == (
        ["bell", "dog", "rain"],
        "single_label",
        [1, 2],
    )
    assert (document["window_s"], document["hop_s"]) == (0.5, 0.5)
    assert document["licences"] == {"pitch": "MIT"}
    assert document["streams"]["timbre"]["fingerprint"] == CENTRED.fingerprint
    said = {entry.key: entry.value for entry in onnx.load(folder / GRAPH).metadata_props}
    for spec in (PITCH, CENTRED, BLOCKS, WAVEFORM):
        assert said[f"fingerprint/{spec.stream}"] == spec.fingerprint
    tensors = load_file(folder / TENSORS)
    own = load_file(store.files.path(run_key("first")) / "fold_2" / "model.safetensors")
    for name, values in own.items():
        if name.startswith("stream/"):
            np.testing.assert_array_equal(tensors[f"fold_2/{name}"], values)


def test_features_of_another_fingerprint_are_refused_with_both_named(folder: Path, corpus: Corpus) -> None:
    other = replace(CENTRED, version=2)
    sentence = f"timbre with fingerprint {CENTRED.fingerprint}, but {other.fingerprint} was offered"
    with pytest.raises(InputError, match=sentence):
        load_exported(folder).score(one_clip(corpus, 0), {**corpus.specs, "timbre": other}, 1.0)
    cut = {**one_clip(corpus, 0), "timbre": {"descriptors": np.zeros((4, 5), np.float32)}}
    with pytest.raises(InputError, match="where its spec has"):
        load_exported(folder).score(cut, corpus.specs, 1.0)


def reseal(folder: Path, change=lambda document: None) -> None:
    """Change the document as somebody would who knows how the hashes are made."""
    document = unsealed((folder / DOCUMENT).read_bytes())
    for name in (GRAPH, TENSORS):
        document["files"][name]["blake2b"] = blake2b((folder / name).read_bytes())
    change(document)
    (folder / DOCUMENT).write_bytes(sealed(document))


def edit_graph(folder: Path, edit) -> None:
    model = onnx.load(folder / GRAPH)
    edit(model)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    reseal(folder)


def far_away(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def with_a_branch(model: onnx.ModelProto) -> None:
    branch = onnx.helper.make_graph([], "then", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], [], then_branch=branch, else_branch=branch))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def relabelled(model: onnx.ModelProto) -> None:
    next(entry for entry in model.metadata_props if entry.key == "labels").value = '["dog", "bell", "rain"]'


def wider(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (far_away, r"lies in another file, where ours are complete"),
        (with_a_branch, "is a branch or a loop"),
        (foreign, "wants operators of 'com.example'"),
        (relabelled, r"says labels .*where export.json has"),
        (wider, "its outputs are not those"),
        (lambda model: model.graph.node.pop(), "cannot be run"),
    ],
)
def test_a_hostile_graph_is_refused_though_all_hashes_fit(copy: Path, edit, sentence: str) -> None:
    edit_graph(copy, edit)
    with pytest.raises(StoreError, match=sentence):
        load_exported(copy)


@pytest.mark.parametrize("name", [GRAPH, TENSORS])
def test_a_flipped_or_missing_byte_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(StoreError, match=f"{name} is not the file that export.json describes"):
        load_exported(copy)
    (copy / name).write_bytes(content[:100])
    reseal(copy)
    with pytest.raises(StoreError, match=r"refused: it is no ONNX file|holds no tensors"):
        load_exported(copy)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document: document.update(labels=["a"]), "not those that export.json describes"),
        (lambda document: document.update(task="multi_label"), "it says task 'single_label', where"),
        (lambda document: document.update(hop_s=0.0), "describes no exported model .hop_s"),
        (lambda document: document.update(surprise=1), "describes no exported model .surprise"),
        (lambda document: document.update(format=9), "has format 9"),
        (lambda document: document["streams"]["timbre"]["spec"].update(version=7), "not what stands beside it"),
        (lambda document: document["streams"]["timbre"]["spec"].pop("grid"), "this is no stream spec"),
        (lambda document: document.update(streams={}), "describes no exported model .streams"),
    ],
)
def test_a_document_that_does_not_fit_the_graph_is_refused(copy: Path, change, sentence: str) -> None:
    reseal(copy, change)
    with pytest.raises(StoreError, match=sentence):
        load_exported(copy)


def test_an_edited_document_a_pipe_and_an_empty_folder_are_sentences(copy: Path, tmp_path: Path) -> None:
    text = (copy / DOCUMENT).read_text()
    (copy / DOCUMENT).write_text(text.replace('"bell"', '"ball"'))
    with pytest.raises(StoreError, match="was changed after it was written"):
        load_exported(copy)
    (copy / DOCUMENT).unlink()
    os.mkfifo(copy / DOCUMENT)
    with pytest.raises(StoreError, match="it is no regular file"):
        load_exported(copy)
    with pytest.raises(StoreError, match="name a folder that `timbrel export` wrote"):
        load_exported(tmp_path / "none")


def test_an_export_replaces_nothing(store: Store, result: RunResult, tmp_path: Path) -> None:
    run = store.files.path(run_key("first"))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.tex").touch()
    with pytest.raises(InputError, match="is there already; name another folder"):
        export_models(tmp_path / "there", load_models(run), read_result(run), {})
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_licences_are_those_of_the_weights_that_made_the_features() -> None:
    from features.weights import WEIGHTS

    known = replace(PITCH, weights={"crepe-tiny": WEIGHTS["crepe-tiny"].sha256, "own": "00"})
    assert licence_notes({"timbre": CENTRED}) == {}
    note = licence_notes({"pitch": known})["pitch"]
    assert "crepe-tiny: MIT; CREPE" in note
    assert "own: not published by timbrel" in note
