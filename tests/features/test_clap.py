"""The CLAP stream, with tiny random models that transformers itself saved."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from features.needed import ensure_weights, needed_weights
from features.registry import embed_labels, load_extractor, spec_for, words_read_by
from features.testing.contract import check_extractor, check_prefix
from storage_schema.errors import InputError
from tests.features.brought import DIM, RATE_HZ, WINDOW_S, save_tiny_clap, write_model

WINDOW = WINDOW_S * RATE_HZ


@pytest.fixture(scope="module", autouse=True)
def module_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMBREL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_clap(tmp_path_factory.mktemp("clap"), words=True)


@pytest.fixture(scope="module")
def extractor(folder):
    return load_extractor(spec_for("clap", {"model": str(folder)}))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)


def test_the_extractor_keeps_its_contract(extractor):
    check_extractor(extractor)


def test_a_long_clip_begins_with_the_frames_of_its_beginning(extractor, noise):
    check_prefix(extractor, noise, 3 * RATE_HZ + 17, 2)


def test_a_folder_with_the_preprocessor_inside_the_processor_keeps_the_contract_too(tmp_path):
    folder = save_tiny_clap(tmp_path / "model", nested=True)
    check_extractor(load_extractor(spec_for("clap", {"model": str(folder), "hop_s": 0.75})))


def test_no_window_counts_as_longer_than_a_model_with_fusion_takes(tmp_path, noise):
    # The library's own preprocessor calls one window of each batch longer, drawn at random, where none is.
    folder = save_tiny_clap(tmp_path / "model", fusion=True)
    extractor = load_extractor(spec_for("clap", {"model": str(folder)}))
    check_extractor(extractor)
    model, preprocess = ClapModel.from_pretrained(folder).eval(), ClapFeatureExtractor.from_pretrained(folder)
    inputs = preprocess(noise[:WINDOW], sampling_rate=RATE_HZ, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        shorter, longer = (
            model.get_audio_features(inputs, is_longer=torch.tensor([[is_longer]])).pooler_output[0].numpy()
            for is_longer in (False, True)
        )
    assert np.abs(shorter - longer).max() > 5e-3
    found = extractor.extract([noise[:WINDOW]])[0]["embedding"][0]
    np.testing.assert_allclose(found, shorter, atol=1e-3)


def test_a_frame_is_the_models_own_embedding_of_its_window(extractor, folder, noise):
    (arrays,) = extractor.extract([noise[: 2 * WINDOW + 100]])
    model, preprocess = ClapModel.from_pretrained(folder).eval(), ClapFeatureExtractor.from_pretrained(folder)
    hop = WINDOW // 2
    assert arrays["embedding"].shape == (5, DIM)
    padded = np.concatenate([noise[: 2 * WINDOW + 100], np.zeros(WINDOW, np.float32)])
    for i, row in enumerate(arrays["embedding"]):
        inputs = preprocess(padded[i * hop : i * hop + WINDOW], sampling_rate=RATE_HZ, return_tensors="pt")
        with torch.inference_mode():
            expected = model.get_audio_features(**inputs).pooler_output[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-3)  # float16 of numbers below 1
        assert np.linalg.norm(row.astype(np.float32)) == pytest.approx(1, abs=2e-3)
    assert np.abs(np.diff(arrays["embedding"].astype(np.float32), axis=0)).max() > 1e-3  # the windows do differ


def test_a_label_is_embedded_in_a_sentence_as_the_model_itself_does(extractor, folder):
    found = embed_labels(extractor.spec, ["dog_bark", "rain", "{}\U0001f600" + 100 * "long "])
    assert found.labels[:2] == ("dog_bark", "rain")
    assert found.prompts[:2] == ("This is a sound of dog bark.", "This is a sound of rain.")
    assert found.prompts[2].startswith("This is a sound of {}\U0001f600long long ")
    assert found.vectors.shape == (3, DIM)
    model, tokenizer = ClapModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = model.get_text_features(**tokenizer(found.prompts[0], return_tensors="pt")).pooler_output[0].numpy()
    np.testing.assert_allclose(found.vectors[0], expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert found.scale == pytest.approx(float(model.logit_scale_a.detach().exp()))
    again = embed_labels(extractor.spec, ["rain"])  # whatever stands beside it
    assert again.vectors.tobytes() == found.vectors[1:2].tobytes()
    assert set(again.read_by) == {"tokenizer.json", "tokenizer_config.json", "prompt"}


def test_a_model_without_a_tokenizer_reads_no_words(extractor, tmp_path):
    mute = save_tiny_clap(tmp_path / "mute", fusion=True)
    assert words_read_by(spec_for("clap", {"model": str(mute)})) == {}
    assert words_read_by(spec_for("waveform")) == {}
    assert words_read_by(extractor.spec)["tokenizer.json"]


def test_what_is_needed_is_one_model_whatever_its_files(extractor):
    assert needed_weights(extractor.spec) == [extractor.spec.parameters["model"]]
    ensure_weights(*needed_weights(extractor.spec))
    assert needed_weights(spec_for("neural")) == ["aisfx"]
    with pytest.raises(InputError, match="timbrel weights add"):
        ensure_weights("sha256:" + "0" * 64)


def test_weights_that_are_no_safetensors_are_refused_in_a_sentence(tmp_path):
    spec = spec_for("clap", {"model": str(write_model(tmp_path / "model"))})
    with pytest.raises(InputError, match="cannot be loaded"):
        load_extractor(spec)


def test_a_model_without_some_of_its_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_tiny_clap(tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    del state["audio_projection.linear1.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks the weights audio_projection\.linear1\.weight"):
        load_extractor(spec_for("clap", {"model": str(folder)}))


def test_the_spec_is_made_without_the_libraries_that_extract(extractor):
    code = (
        f"import sys; from features.registry import spec_for; spec_for('clap', {dict(extractor.spec.parameters)}); "
        "sys.exit(' '.join({'torch', 'transformers', 'huggingface_hub', 'zarr'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
