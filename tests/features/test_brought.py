"""Models go into the cache by what they are, wherever they came from, and are used only while they are whole."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from features.brought import bundle as bundles
from features.brought.bundle import find_bundle, is_brought, list_bundles, verified_folder
from features.brought.extras import require_extra
from features.brought.sources import bring, bundle_of
from features.registry import spec_for
from storage_schema.errors import InputError
from tests.features.brought import CONFIG, PREPROCESSOR, write_model

pytestmark = pytest.mark.usefixtures("brought_cache")


def test_a_folder_is_known_by_its_files_and_found_when_it_is_gone(tmp_path):
    folder = write_model(tmp_path / "model")
    brought = bring(str(folder))
    again = bring(str(shutil.copytree(folder, tmp_path / "elsewhere")))
    assert is_brought(brought.name)
    assert again.name == brought.name
    shutil.rmtree(folder)
    assert find_bundle(brought.name) == brought
    assert list_bundles() == [brought]
    kept = verified_folder(brought.name)
    assert (kept / "model.safetensors").read_bytes() == b"not even safetensors"
    assert str(tmp_path) not in json.dumps(dict(spec_for("clap", {"model": brought.name}).parameters))


@pytest.mark.parametrize(
    "changed", [{"config": CONFIG | {"x": 1}}, {"weights": b"x"}, {"preprocessor": PREPROCESSOR | {"x": 1}}]
)
def test_another_file_of_any_kind_is_another_model(tmp_path, changed):
    one, other = bring(str(write_model(tmp_path / "one"))), bring(str(write_model(tmp_path / "other", **changed)))
    assert one.name != other.name
    assert len(list_bundles()) == 2


def test_settings_inside_the_processor_go_before_those_beside_it(tmp_path):
    folder = write_model(tmp_path / "model")  # as transformers reads them
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": PREPROCESSOR | {"max_length_s": 3}}))
    assert spec_for("clap", {"model": str(folder)}).grid.hop == 72_000
    (folder / "processor_config.json").write_text("{}")
    assert spec_for("clap", {"model": str(folder)}).grid.hop == 24_000


def test_words_come_along_and_change_no_name(tmp_path):
    name = bring(str(write_model(tmp_path / "mute"))).name
    folder = write_model(tmp_path / "speaking")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "notes.txt").write_text("of no use here")
    (folder / "modeling_clap.py").write_text("raise SystemExit")
    brought = bring(str(folder))
    assert brought.name == name
    assert sorted(path.name for path in verified_folder(name).iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ]


def test_weights_in_several_files_are_taken_together(tmp_path):
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    assert "model-00001-of-00001.safetensors" in bring(str(folder)).weights
    index.write_text(json.dumps({"weight_map": {"a": "../model-00001-of-00001.safetensors"}}))
    with pytest.raises(InputError, match="does not say which files"):
        bring(str(folder))


def test_a_damaged_model_is_refused_and_mended_by_adding_it_again(tmp_path):
    folder = write_model(tmp_path / "model")
    brought = bring(str(folder))
    (brought.folder / "model.safetensors").write_bytes(b"?")
    with pytest.raises(InputError, match="timbrel weights add"):
        verified_folder(brought.name)
    bring(str(folder))
    assert verified_folder(brought.name) == brought.folder
    assert [path.name for path in brought.folder.parent.iterdir()] == [brought.hash]


def test_a_manifest_that_lies_about_its_files_is_none(tmp_path):
    brought = bring(str(write_model(tmp_path / "model")))
    document = json.loads((brought.folder / "manifest.json").read_text())
    document["files"]["../../passwd"] = document["files"]["config.json"] | {"counts": False}
    (brought.folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="is not in"):
        find_bundle(brought.name)
    assert list_bundles() == []


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "has no config.json"),
        ("preprocessor_config.json", None, "has no preprocessor_config.json"),
        ("model.safetensors", None, "can run code"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", "[" * 100_000, "is no JSON"),
        ("config.json", '{"model_type": "bert"}', "'bert', where clap"),
        ("config.json", '{"model_type": "clap", "projection_dim": -1}', "projection_dim"),
        ("config.json", '{"model_type": "clap", "projection_dim": true}', "projection_dim"),
        ("preprocessor_config.json", '{"sampling_rate": 1e999}', "sampling_rate"),
        ("preprocessor_config.json", '{"max_length_s": 100000}', "max_length_s"),
    ],
)
def test_a_folder_that_is_no_clap_is_refused_in_words(tmp_path, file, content, words):
    folder = write_model(tmp_path / "model")
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match=words):
        spec_for("clap", {"model": str(folder)})


@pytest.mark.parametrize(
    "model", ["", 7, None, "sha256:abc", "sha256:" + "0" * 64, "no such folder", "a" * 5_000, "~x~/y", "a\0b"]
)
def test_what_is_no_model_is_refused_with_what_one_is(model):
    with pytest.raises(InputError, match=r"Hugging Face folder|timbrel weights add|64 hexadecimal"):
        bundle_of(model, "clap")


def test_an_odd_hop_is_refused(tmp_path):
    model = str(write_model(tmp_path / "model"))
    assert spec_for("clap", {"model": model}).grid.hop == 24_000  # half a window
    assert (
        spec_for("clap", {"model": model, "hop_s": 1}).fingerprint
        == spec_for("clap", {"model": model, "hop_s": 1.0}).fingerprint
    )
    for hop_s in (0, -1, 1.5, "1", True, float("nan")):
        with pytest.raises(InputError, match="hop_s"):
            spec_for("clap", {"model": model, "hop_s": hop_s})


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path, monkeypatch):
    folder, copy = write_model(tmp_path / "model"), shutil.copyfile

    def copy_of_another(source, target):
        copy(source, target)
        target.write_bytes(b"changed")

    monkeypatch.setattr(bundles.shutil, "copyfile", copy_of_another)
    with pytest.raises(InputError, match="changed while it was read"):
        bring(str(folder))
    assert list_bundles() == []


def test_a_cache_that_cannot_be_written_names_the_variable_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="TIMBREL_CACHE"):
        bring(str(write_model(tmp_path / "model")))


def bring_from_the_hub(hub_id, home):
    """What a process prints that brings `hub_id` where no hub answers; `home` is that of the hub's own cache."""
    code = (
        "from features.brought.sources import bring\nfrom storage_schema.errors import InputError\n"
        f"try: print(bring({hub_id!r}).name)\nexcept InputError as error: print(error)"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout


def test_a_hub_that_does_not_answer_is_one_sentence_soon(tmp_path):
    started = time.monotonic()
    said = bring_from_the_hub("nobody/clap-of-nobody", tmp_path / "hub")
    assert said.startswith("the model nobody/clap-of-nobody could not be had from the hub: ")
    assert "name a local folder" in said
    assert len(said.splitlines()) == 1
    assert time.monotonic() - started < 20


def test_what_the_hub_gave_before_is_taken_where_it_does_not_answer(tmp_path):
    revision = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "home" / "hub" / "models--somebody--clap"
    folder = write_model(kept / "snapshots" / revision)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(revision)
    assert bring_from_the_hub("somebody/clap", tmp_path / "home").strip() == bring(str(folder)).name


def test_a_missing_library_names_the_extra_that_brings_it():
    require_extra("hf", "transformers")
    with pytest.raises(InputError, match=r"timbrel\[hf\]"):
        require_extra("hf", "transformers_of_nobody")
