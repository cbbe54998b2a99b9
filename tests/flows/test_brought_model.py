"""A model that a person brings, at the command line: added, extracted with by name, listed, refused."""

import json
import shutil

import numpy as np
import pytest

from features.registry import spec_for
from storage_schema import open_store
from tests.features.brought import DIM, save_onnx, save_tiny_clap, save_tiny_encoder, tiny_onnx, write_model


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "cache"))


def test_models_are_extracted_from_a_folder_and_known_by_their_hash_when_that_is_gone(timbrel, ingested, tmp_path):
    folder = tmp_path / "models"
    models = {
        "clap": save_tiny_clap(folder / "clap", words=True),
        "hf": save_tiny_encoder(folder / "hf", "wav2vec2"),
        "onnx": save_onnx(folder / "onnx", tiny_onnx()),
    }
    words = ("--store", ingested, "--streams", ",".join(models), "--json")
    settings = [word for stream, place in models.items() for word in ("--set", f"{stream}.model={place}")]
    code, out, _ = timbrel("extract", *words, "--workers", 1, *settings)
    assert code == 0
    assert json.loads(out)["computed"] == dict.fromkeys(models, 4)
    assert json.loads(out)["notes"] == ["clap: 2 labels embedded"]
    names = {}
    for stream, place in models.items():
        code, out, _ = timbrel("weights", "add", place)
        assert code == 0
        names[stream] = out.strip()
    shutil.rmtree(folder)
    shapes = {"clap": (1, DIM), "hf": (15, 16), "onnx": (2, 4)}  # 0.3 s in blocks of 0.5 s, of 20 ms, of 0.25 s
    snapshot = open_store(ingested).snapshot()
    for stream, name in names.items():
        reader = snapshot.stream(stream)
        assert reader.spec.fingerprint == spec_for(stream, {"model": name}).fingerprint
        assert reader.read(reader.clip_ids[0])["embedding"].shape == shapes[stream]
    rows = snapshot.stream("clap").read(snapshot.stream("clap").clip_ids[0])["embedding"]
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=2e-3)
    settings = [word for stream, name in names.items() for word in ("--set", f"{stream}.model={name}")]
    code, out, _ = timbrel("extract", *words, *settings)
    assert code == 0
    assert json.loads(out)["computed"] == dict.fromkeys(models, 0)
    assert json.loads(out)["notes"] == []
    assert snapshot.label_embeddings("clap", snapshot.stream("clap").fingerprint).labels == ("high", "low")
    code, out, _ = timbrel("plan", *words, *settings)
    assert code == 0
    assert [one["done"] for one in json.loads(out)["streams"].values()] == [4, 4, 4]


def test_added_models_are_listed_by_name(timbrel, tmp_path):
    folder = write_model(tmp_path / "model")
    code, out, _ = timbrel("weights", "add", folder, "--json")
    assert code == 0
    added = json.loads(out)
    assert added["files"] == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert added["name"] in timbrel("weights", "list")[1]
    listed = {entry["name"]: entry for entry in json.loads(timbrel("weights", "list", "--json")[1])}
    assert listed[added["name"]]["cached"]
    assert listed["aisfx"]["licence"] == "CC BY 4.0"


def test_a_model_that_cannot_be_loaded_ends_the_extraction_with_a_sentence(timbrel, ingested, tmp_path):
    model = tiny_onnx()
    model.graph.node[1].input[1] = "nothing"
    path = save_onnx(tmp_path / "model", model)
    words = ("--store", ingested, "--streams", "onnx", "--workers", 1, "--set", f"onnx.model={path}")
    code, _, err = timbrel("extract", *words)
    assert code == 2
    assert "cannot be run" in err
    assert "Traceback" not in err


def test_a_stream_without_its_model_says_how_to_name_one(timbrel, ingested):
    code, _, err = timbrel("extract", "--store", ingested, "--streams", "clap")
    assert code == 2
    assert "--set clap.model=" in err
    code, _, err = timbrel("weights", "add", "no such model")
    assert code == 2
    assert "neither a folder nor a hub id" in err
