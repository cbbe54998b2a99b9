"""What the `onnx` stream is, from the model's own graph and what its user says of it; nothing is run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.brought.bundle import Bundle
from features.brought.onnx_file import GRAPH, read_onnx, shape_of
from features.brought.sources import bundle_of, whole_number, whole_samples
from storage_schema.errors import InputError
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

VERSION = 1
DEFAULT_WINDOW_S = 1.0
LONGEST_S = 60
RATE_NAMES = ("sample_rate_hz", "sample_rate", "sampling_rate")
"""Under which an ONNX file may say its rate, among its metadata."""

FLOATS = (1, 10, 11)
"""ONNX's numbers for float32, float16 and float64."""


def onnx_spec(
    model: str = "",
    sample_rate_hz: int | None = None,
    window_s: float | None = None,
    hop_s: float | None = None,
    output: str | None = None,
    dim: int | None = None,
) -> StreamSpec:
    """One embedding every `hop_s` seconds, each of the window of `window_s` seconds that begins with the frame.

    The model has one input, float32 of the shape (samples), (1, samples) or (1, 1, samples). What its file says need
    not be said: the rate (metadata `sample_rate_hz`), the window (the length of the input, where that is fixed; 1 s
    where it is not), the `output` where there is one only, and its last axis, `dim`. Axes before that are averaged.
    hop_s: half a window by default. A window that reaches past the clip is filled with silence.
    Raises InputError that names what is missing or contradicts the file.
    """
    bundle = bundle_of(model, "onnx")
    if GRAPH not in bundle.files:
        raise InputError(f"the model {bundle.name} is no ONNX file; name one, or use it with --set hf.model=")
    graph = read_onnx(bundle.folder / GRAPH)
    rate_hz = _rate(graph, sample_rate_hz)
    window = _window(graph.graph, rate_hz, window_s)
    hop = -(-window // 2) if hop_s is None else whole_samples(hop_s, "onnx.hop_s", rate_hz, LONGEST_S)
    if hop > window:
        raise InputError(f"onnx.hop_s is at most the window's {window / rate_hz:g} s, not {hop / rate_hz:g}")
    chosen = _output(graph.graph, output)
    n_dims = _dim(chosen, dim)
    return _spec(bundle, FrameGrid(rate_hz, hop, "blocks"), window, chosen.name, n_dims)


def model_input(graph: "GraphProto") -> "ValueInfoProto":
    """The one input that is fed. Raises InputError where it is not a waveform alone."""
    given = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in given]
    said = "; ".join(f"{value.name} {shape_of(value)}" for value in inputs) or "none"
    problem = f"the model has the inputs {said}; one of float32 and the shape (samples) or (1, samples) was expected"
    if len(inputs) != 1:
        raise InputError(problem)
    shape = shape_of(inputs[0])
    if inputs[0].type.tensor_type.elem_type != FLOATS[0] or not 1 <= len(shape) <= 3:
        raise InputError(problem)
    if any(size not in {None, 1} for size in shape[:-1]):
        raise InputError(f"{problem}; a spectrogram is to be computed inside the model")
    fed: ValueInfoProto = inputs[0]
    return fed


def _spec(bundle: Bundle, grid: FrameGrid, window: int, output: str, dim: int) -> StreamSpec:
    window_s = window / grid.sample_rate_hz
    return StreamSpec(
        stream="onnx",
        extractor="onnx",
        version=VERSION,
        grid=grid,
        arrays=(
            ArraySpec(
                name="embedding",
                dtype="float16",
                unit="1",
                description=f"output {output} of an ONNX model, of the {window_s:g} s that begin with this block",
                shape=(dim,),
            ),
        ),
        parameters={
            "model": bundle.name,
            "sample_rate_hz": grid.sample_rate_hz,
            "window_s": window_s,
            "hop_s": grid.hop / grid.sample_rate_hz,
            "output": output,
            "dim": dim,
        },
        weights=bundle.weights,
    )


def _rate(model: "ModelProto", asked: int | None) -> int:
    said = {entry.key: entry.value for entry in model.metadata_props if entry.key in RATE_NAMES}
    known = {int(value) if value.isdecimal() else value for value in said.values()}
    if asked is None and len(known) != 1:
        raise InputError(
            f"the ONNX file says {'nothing of its rate' if not known else f'several rates, {known}'}; give it in Hz "
            "with --set onnx.sample_rate_hz=16000"
        )
    rate_hz = whole_number({"rate": asked if asked is not None else known.pop()}, "rate", 0, 768_000, "the onnx stream")
    if known - {rate_hz}:
        raise InputError(f"the ONNX file is of {known.pop()} Hz, and onnx.sample_rate_hz is {rate_hz}; leave it out")
    return rate_hz


def _window(graph: "GraphProto", rate_hz: int, window_s: float | None) -> int:
    fixed = shape_of(model_input(graph))[-1]
    if fixed is not None and not 1 <= fixed <= LONGEST_S * rate_hz:
        raise InputError(f"the model hears {fixed} samples, where 1 sample to {LONGEST_S} s were expected")
    if window_s is None:
        return fixed or round(DEFAULT_WINDOW_S * rate_hz)
    window = whole_samples(window_s, "onnx.window_s", rate_hz, LONGEST_S)
    if fixed not in {None, window}:
        raise InputError(f"the model hears {fixed} samples, and onnx.window_s is {window} of them; leave it out")
    return window


def _output(graph: "GraphProto", asked: str | None) -> "ValueInfoProto":
    outputs: Mapping[str, ValueInfoProto] = {value.name: value for value in graph.output}
    if asked is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if asked is None or asked not in outputs:
        raise InputError(
            f"the model has the outputs {', '.join(outputs)}; name the embedding with --set onnx.output=NAME"
        )
    return outputs[asked]


def _dim(output: "ValueInfoProto", asked: int | None) -> int:
    shape = shape_of(output)
    if output.type.tensor_type.elem_type not in FLOATS:
        raise InputError(f"the output {output.name} holds no floating-point numbers; name another with onnx.output")
    said = shape[-1] if shape else None
    if said is None and asked is None:
        raise InputError(f"the output {output.name} does not say how long it is; give that with --set onnx.dim=512")
    dim = whole_number({"dim": asked or said}, "dim", 0, 65_536, "the onnx stream")
    if said not in {None, dim}:
        raise InputError(f"the output {output.name} has {said} numbers, and onnx.dim is {dim}; leave it out")
    return dim
