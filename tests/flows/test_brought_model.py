"""A model that a person brings, at the command line: added, extracted with by name, listed, refused."""

import json
import shutil

import numpy as np
import pytest

from features.registry import spec_for
from storage_schema import open_store
from tests.features.brought import DIM, save_tiny_clap, write_model


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "cache"))


def test_clap_is_extracted_from_a_folder_and_known_by_its_hash_when_that_is_gone(timbrel, ingested, audio, tmp_path):
    folder = save_tiny_clap(tmp_path / "model")
    words = ("extract", "--store", ingested, "--streams", "clap", "--workers", 1, "--json", "--set")
    code, out, _ = timbrel(*words, f"clap.model={folder}")
    assert code == 0
    assert json.loads(out)["computed"] == {"clap": 4}
    code, out, _ = timbrel("weights", "add", folder)
    assert code == 0
    name = out.strip()
    shutil.rmtree(folder)
    stream = open_store(ingested).snapshot().stream("clap")
    assert stream.spec.fingerprint == spec_for("clap", {"model": name}).fingerprint
    rows = stream.read(stream.clip_ids[0])["embedding"]
    assert rows.shape == (1, DIM)  # 0.3 s of sound in blocks of half a second
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=2e-3)
    code, out, _ = timbrel(*words, f"clap.model={name}")
    assert code == 0
    assert json.loads(out)["computed"] == {"clap": 0}
    code, out, _ = timbrel("plan", "--store", ingested, "--streams", "clap", "--set", f"clap.model={name}", "--json")
    assert code == 0
    assert json.loads(out)["streams"]["clap"]["done"] == 4


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
    folder = write_model(tmp_path / "model")
    words = ("--store", ingested, "--streams", "clap", "--workers", 1, "--set", f"clap.model={folder}")
    code, _, err = timbrel("extract", *words)
    assert code == 2
    assert "cannot be loaded" in err
    assert "Traceback" not in err


def test_a_stream_without_its_model_says_how_to_name_one(timbrel, ingested):
    code, _, err = timbrel("extract", "--store", ingested, "--streams", "clap")
    assert code == 2
    assert "--set clap.model=" in err
    code, _, err = timbrel("weights", "add", "no such model")
    assert code == 2
    assert "neither a folder nor a hub id" in err
