"""The hf stream, with tiny random models that transformers itself saved."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers

from features.brought.sources import bring
from features.hf.hearing import hearing_of
from features.registry import load_extractor, spec_for
from features.testing.contract import check_extractor, check_prefix
from storage_schema.errors import InputError
from tests.features.brought import save_tiny_encoder

RATE_HZ = 16_000
KINDS = ("wav2vec2", "hubert", "whisper", "ast")


@pytest.fixture(scope="module", autouse=True)
def module_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMBREL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save_tiny_encoder(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(0, 0.1, 8 * RATE_HZ).astype(np.float32)


def extractor_of(folder, **parameters):
    return load_extractor(spec_for("hf", {"model": str(folder), **parameters}))


def inputs_of(folder, samples):
    preprocess = transformers.AutoFeatureExtractor.from_pretrained(folder)
    return next(iter(preprocess(samples, sampling_rate=RATE_HZ, return_tensors="pt").values()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_extractor_keeps_its_contract(folders, kind):
    check_extractor(extractor_of(folders[kind]))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("wav2vec2", {"window_s": 1, "hop_s": 0.04}), ("whisper", {}), ("ast", {"hop_s": 0.16})],
)
def test_a_long_clip_begins_with_the_frames_of_its_beginning(folders, noise, kind, parameters):
    extractor = extractor_of(folders[kind], **parameters)
    a_window = round(extractor.spec.parameters["window_s"] * RATE_HZ / extractor.spec.grid.hop)
    check_prefix(extractor, noise, 5 * RATE_HZ + 17, a_window + 1)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_a_frame_is_the_models_own_token_at_that_time(folders, noise, kind):
    extractor = extractor_of(folders[kind], window_s=1)
    assert extractor.spec.grid.hop == 320  # 20 ms: strides of 5, 8 and 8
    assert hearing_of(bring(str(folders[kind]))).reach == 485 - 320  # 10, then 7 x 5, then 11 x 40 more
    (arrays,) = extractor.extract([noise[: 2 * RATE_HZ + 100]])
    assert arrays["embedding"].shape == (101, 16)
    model = transformers.AutoModel.from_pretrained(folders[kind]).eval()
    for second in (0, 1):
        heard = noise[second * RATE_HZ :][: RATE_HZ + 165]
        if second == 1:
            heard = np.pad(noise[: 2 * RATE_HZ + 100], (0, 65))[RATE_HZ:]
        with torch.inference_mode():
            expected = model(inputs_of(folders[kind], heard)).last_hidden_state[0].numpy()
        assert len(expected) == 50
        np.testing.assert_allclose(arrays["embedding"][50 * second : 50 * (second + 1)], expected, atol=2e-3)


def test_a_longer_hop_is_the_mean_of_the_tokens_within(folders, noise):
    fine, coarse = (extractor_of(folders["whisper"], hop_s=hop_s) for hop_s in (0.02, 0.1))
    tokens, blocks = (one.extract([noise[:RATE_HZ]])[0]["embedding"].astype(np.float32) for one in (fine, coarse))
    np.testing.assert_allclose(blocks, tokens.reshape(10, 5, 16).mean(axis=1), atol=2e-3)


def test_whisper_hears_its_own_window_and_no_decoder_speaks(folders, noise):
    extractor = extractor_of(folders["whisper"])
    assert (extractor.spec.parameters["window_s"], extractor.spec.grid.hop) == (1.0, 320)
    encoder = transformers.WhisperModel.from_pretrained(folders["whisper"]).eval().get_encoder()
    with torch.inference_mode():
        expected = encoder(inputs_of(folders["whisper"], noise[:RATE_HZ])).last_hidden_state[0].numpy()
    np.testing.assert_allclose(extractor.extract([noise[:RATE_HZ]])[0]["embedding"], expected, atol=2e-3)


def test_a_model_without_tokens_in_time_gives_its_own_pooled_vector_of_each_window(folders, noise):
    extractor = extractor_of(folders["ast"])
    window, hop = 10_240, 5_120  # 64 frames of 10 ms
    assert (extractor.spec.parameters["window_s"], extractor.spec.grid.hop) == (0.64, hop)
    rows = extractor.extract([noise[: 3 * hop]])[0]["embedding"]
    model = transformers.ASTModel.from_pretrained(folders["ast"]).eval()
    for i, row in enumerate(rows):
        with torch.inference_mode():
            expected = model(inputs_of(folders["ast"], noise[i * hop : min(i * hop + window, 3 * hop)])).pooler_output
        np.testing.assert_allclose(row, expected[0].numpy(), atol=2e-3)


def test_a_hop_or_window_that_does_not_fit_the_model_is_refused(folders):
    for kind, parameters, words in (
        ("wav2vec2", {"hop_s": 0.03}, "multiple of the model's own step, 0.02 s"),
        ("wav2vec2", {"window_s": 0.05}, "multiple of the model's own step"),
        ("whisper", {"window_s": 2}, "always hears 1 s"),
        ("ast", {"hop_s": 1}, r"at most hf.window_s, 0.64, and this model hears 0.64 s"),
        ("ast", {"window_s": 61}, "up to 60"),
        ("ast", {"hop_s": 0.00001}, "no whole number of samples"),
    ):
        with pytest.raises(InputError, match=words):
            spec_for("hf", {"model": str(folders[kind]), **parameters})


def copy_with(folder, target, name, **changes):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    document = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps({k: v for k, v in (document | changes).items() if v is not None}))
    return target


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("config.json", {"model_type": None}, "names no model_type"),
        ("config.json", {"model_type": "clap"}, "clap.model="),
        ("config.json", {"hidden_size": None}, "neither hidden_size nor d_model"),
        ("config.json", {"conv_stride": [5, 0, 8]}, "conv_stride"),
        ("config.json", {"conv_stride": "5"}, "conv_stride"),
        ("config.json", {"conv_kernel": [2, 2, 2]}, "fit no model"),
        ("preprocessor_config.json", {"sampling_rate": None}, "names no sampling_rate"),
        ("preprocessor_config.json", {"sampling_rate": -1}, "sampling_rate"),
    ],
)
def test_files_that_do_not_say_how_the_model_hears_are_refused_in_words(folders, tmp_path, name, changes, words):
    model = copy_with(folders["wav2vec2"], tmp_path / "model", name, **changes)
    with pytest.raises(InputError, match=words):
        spec_for("hf", {"model": str(model)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 32}, "lacks the weights|cannot be loaded"),
        ({"model_type": "no_such_model"}, "cannot be loaded"),
        ({"auto_map": {"AutoModel": "evil--code.Model"}, "model_type": "evil"}, "cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused_before_any_clip(folders, tmp_path, changes, words):
    model = copy_with(folders["ast"], tmp_path / "model", "config.json", **changes)
    spec = spec_for("hf", {"model": str(model)})
    with pytest.raises(InputError, match=words):
        load_extractor(spec)


def test_the_spec_is_made_without_the_libraries_that_extract(folders):
    spec = spec_for("hf", {"model": str(folders["hubert"])})
    assert str(folders["hubert"]) not in spec.to_json()
    code = (
        f"import sys; from features.registry import spec_for; spec_for('hf', {dict(spec.parameters)}); "
        "sys.exit(' '.join({'torch', 'transformers', 'huggingface_hub', 'onnx', 'zarr'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
