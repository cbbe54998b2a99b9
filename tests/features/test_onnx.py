"""The onnx stream, with tiny random models; a hostile file is refused before anything of it runs."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from features.brought.sources import bring
from features.needed import ensure_weights, needed_weights
from features.registry import load_extractor, spec_for
from features.testing.contract import check_extractor, check_prefix
from storage_schema.errors import InputError
from tests.features.brought import save_onnx, tiny_onnx, write_model

RATE_HZ = 16_000

pytestmark = pytest.mark.usefixtures("brought_cache")


def extractor_of(path, **parameters):
    return load_extractor(spec_for("onnx", {"model": str(path), **parameters}))


def embedding_as_defined(waveform, start, n_samples):
    """The mean over time of the rectified convolution, in plain NumPy."""
    window = np.pad(waveform[start : start + n_samples], (0, max(0, start + n_samples - len(waveform))))
    weight = np.random.default_rng(0).normal(0, 0.2, (4, 1, 400)).astype(np.float32)[:, 0]
    steps = np.lib.stride_tricks.sliding_window_view(window, 400)[::160]
    return np.abs(steps @ weight.T).mean(axis=0)


@pytest.mark.parametrize("shape", [(8_000,), (1, 8_000), (None, None), (1, 1, None)])
def test_the_extractor_keeps_its_contract_whatever_the_shape_of_the_input(tmp_path, shape):
    extractor = extractor_of(save_onnx(tmp_path, tiny_onnx(shape=shape)))
    assert extractor.spec.parameters["window_s"] == (1.0 if shape[-1] is None else 0.5)
    check_extractor(extractor)


def test_a_long_clip_begins_with_the_frames_of_its_beginning(tmp_path):
    noise = np.random.default_rng(3).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)
    check_prefix(extractor_of(save_onnx(tmp_path, tiny_onnx())), noise, 3 * RATE_HZ + 17, 2)


def test_a_frame_is_what_the_model_makes_of_the_window_that_begins_with_it(tmp_path):
    path = save_onnx(tmp_path, tiny_onnx(pooled=False))
    noise = np.random.default_rng(3).normal(0, 0.1, 11_000).astype(np.float32)
    expected = [embedding_as_defined(noise, start, 8_000) for start in (0, 4_000, 8_000)]
    for output in ("pooled", "frames"):  # axes before the last are averaged
        (arrays,) = extractor_of(path, output=output).extract([noise])
        np.testing.assert_allclose(arrays["embedding"], expected, atol=2e-3)


def test_what_the_file_leaves_open_is_said_by_its_user(tmp_path):
    path = str(save_onnx(tmp_path, tiny_onnx(shape=(1, None), rate_hz=None)))
    spec = spec_for("onnx", {"model": path, "sample_rate_hz": 32_000, "window_s": 0.25, "hop_s": 0.125})
    assert (spec.grid.sample_rate_hz, spec.grid.hop, spec.grid.alignment) == (32_000, 4_000, "blocks")
    assert spec.array("embedding").shape == (4,)
    assert str(tmp_path) not in spec.to_json()
    (arrays,) = load_extractor(spec).extract([np.ones(10_000, np.float32)])
    assert arrays["embedding"].shape == (3, 4)


def without_dim(model):
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "size"
    return model


def with_inputs(*inputs):
    model = tiny_onnx()
    del model.graph.input[:]
    model.graph.input.extend(helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs)
    return model


@pytest.mark.parametrize(
    ("model", "parameters", "words"),
    [
        (tiny_onnx(rate_hz=None), {}, r"says nothing of its rate.*--set onnx\.sample_rate_hz="),
        (tiny_onnx(rate_hz="fast"), {}, "rate in the onnx stream is 'fast'"),
        (tiny_onnx(), {"sample_rate_hz": 8_000}, "16000 Hz, and onnx.sample_rate_hz is 8000"),
        (tiny_onnx(), {"window_s": 1.0}, "hears 8000 samples"),
        (tiny_onnx(shape=(1, 10**9)), {}, "hears 1000000000 samples"),
        (tiny_onnx(), {"hop_s": 0.6}, "at most the window's 0.5 s"),
        (tiny_onnx(), {"hop_s": True}, "number of seconds"),
        (tiny_onnx(pooled=False), {}, r"outputs pooled, frames; name the embedding with --set onnx\.output="),
        (tiny_onnx(), {"output": "other"}, "has the outputs pooled"),
        (tiny_onnx(), {"dim": 5}, "has 4 numbers, and onnx.dim is 5"),
        (without_dim(tiny_onnx()), {}, r"does not say how long it is.*--set onnx\.dim="),
        (tiny_onnx(shape=(1, 64, None)), {}, r"\[1, 64, None\].*spectrogram is to be computed inside"),
        (with_inputs(("a", TensorProto.INT64, (1, 8_000))), {}, "float32"),
        (with_inputs(*((name, TensorProto.FLOAT, (1, 8_000)) for name in "ab")), {}, "inputs a .*; b "),
        (with_inputs(), {}, "inputs none"),
    ],
)
def test_what_is_missing_or_contradicts_the_file_is_named(tmp_path, model, parameters, words):
    with pytest.raises(InputError, match=words):
        spec_for("onnx", {"model": str(save_onnx(tmp_path, model)), **parameters})


def test_a_length_that_only_its_user_knows_is_held_to_what_the_model_gives(tmp_path):
    path = save_onnx(tmp_path, without_dim(tiny_onnx()))
    check_extractor(extractor_of(path, dim=4))
    with pytest.raises(InputError, match=r"cannot be run.*\(1, 4\), where the last axis was to have 5"):
        extractor_of(path, dim=5)


def with_node(operator, domain=""):
    model = tiny_onnx()
    model.graph.node.append(helper.make_node(operator, ["waveform"], ["more"], domain=domain))
    return model


def inside_a_branch(model):
    inner = helper.make_graph(list(model.graph.node), "inner", [], list(model.graph.output))
    branch = helper.make_node("If", ["is_so"], ["either"], then_branch=inner, else_branch=inner)
    outer = tiny_onnx()
    outer.graph.node.append(branch)
    return outer


def far_away(location):
    model = tiny_onnx()
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "6400"}.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (with_node("Crash", "com.somebody"), "'com.somebody', which a library of their own would bring"),
        (inside_a_branch(with_node("Crash", "com.somebody")), "com.somebody"),
        (with_node("RandomNormalLike"), "draws at random"),
        *((far_away(place), "no file of that folder") for place in (
            "/etc/passwd", "../weights.bin", "sub/weights.bin", "link.bin", "missing.bin", "..", "", "a\\b", "a\0b",
        )),
        (far_away("manifest.json"), "a file called manifest.json"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_before_it_is_kept(tmp_path, brought_cache, model, words):
    path = save_onnx(tmp_path / "model", model)
    for place in (tmp_path / "weights.bin", path.parent / "sub" / "weights.bin", path.parent / "manifest.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(bytes(6_400))
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(InputError, match=words):
        bring(str(path))
    assert not brought_cache.exists()


def test_tensors_in_a_file_beside_it_come_along_and_count(tmp_path):
    path = save_onnx(tmp_path / "model", far_away("weights.bin"))
    weight = np.random.default_rng(0).normal(0, 0.2, (4, 1, 400)).astype(np.float32)
    (path.parent / "weights.bin").write_bytes(weight.tobytes())
    bundle = bring(str(path))
    assert set(bundle.weights) == {"model.onnx", "weights.bin"}
    noise = np.random.default_rng(3).normal(0, 0.1, 8_000).astype(np.float32)
    (arrays,) = extractor_of(bundle.name).extract([noise])
    np.testing.assert_allclose(arrays["embedding"][0], embedding_as_defined(noise, 0, 8_000), atol=2e-3)
    (path.parent / "weights.bin").write_bytes(weight[::-1].tobytes())
    assert bring(str(path)).name != bundle.name


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 100])
def test_what_is_no_onnx_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"no ONNX file|inputs none"):
        spec_for("onnx", {"model": str(tmp_path / "model.onnx"), "sample_rate_hz": 16_000})


def test_a_graph_that_cannot_run_is_refused_before_any_clip(tmp_path):
    model = tiny_onnx()
    model.graph.node[1].input[1] = "nothing"
    with pytest.raises(InputError, match="cannot be run"):
        extractor_of(save_onnx(tmp_path, model))


def test_each_kind_of_model_names_the_stream_it_is_for(tmp_path):
    graph = bring(str(save_onnx(tmp_path / "graph", tiny_onnx())))
    folder = bring(str(write_model(tmp_path / "folder")))
    assert needed_weights(spec_for("onnx", {"model": graph.name})) == [graph.name]
    ensure_weights(graph.name)
    with pytest.raises(InputError, match="is no ONNX file"):
        spec_for("onnx", {"model": folder.name})
    for stream in ("hf", "clap"):
        with pytest.raises(InputError, match=r"onnx\.model="):
            spec_for(stream, {"model": graph.name})


def test_the_spec_is_made_without_what_runs_a_model(tmp_path):
    bundle = bring(str(save_onnx(tmp_path, tiny_onnx())))
    code = (
        f"import sys; from features.registry import spec_for; spec_for('onnx', {{'model': {bundle.name!r}}}); "
        "sys.exit(' '.join({'torch', 'onnxruntime', 'transformers', 'zarr'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_models_of_these_tests_are_sound():
    onnx.checker.check_model(tiny_onnx())
    onnx.checker.check_model(tiny_onnx(shape=(1, 1, None), pooled=False))
