"""An ONNX file that somebody brought: parsed and never run before it is known to be harmless.

Refused are operators that only a library of somebody's own knows, operators that draw at random, and tensors in files
outside the model's folder: an ONNX file may name any path for them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.brought.extras import require_extra
from storage_schema.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

GRAPH = "model.onnx"
"""The name of the file in a bundle."""

BUILT_IN = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of operators that ONNX Runtime itself brings."""

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)

MOST_BYTES = 2 * 2**30
"""What a protobuf may hold; larger models keep their tensors in files beside it."""


def read_onnx(path: Path) -> "ModelProto":
    """The model in `path`, without the tensors that lie in other files. InputError where it is none or is refused."""
    require_extra("onnx", "onnx")
    import onnx

    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is larger than an ONNX file can be")
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); see that it is a file you may read") from error
    except InputError:
        raise
    except Exception as error:  # protobuf's own DecodeError is of one of two classes
        raise InputError(f"{path} is no ONNX file, or torn; export the model again") from error
    own = {function.domain for function in model.functions}
    wanted = {node.domain for graph in _graphs(model) for node in graph.node}
    if foreign := sorted(wanted - BUILT_IN - own):
        raise InputError(
            f"{path} wants operators of {foreign[0]!r}, which a library of their own would bring; none is loaded: "
            "export the model with ONNX's own operators"
        )
    drawn = sorted({node.op_type for graph in _graphs(model) for node in graph.node} & RANDOM)
    if drawn:
        raise InputError(
            f"{path} draws at random ({drawn[0]}), so that no number of it would come twice; export it in eval mode"
        )
    return model


def external_files(model: "ModelProto", folder: Path) -> dict[str, Path]:
    """The files with tensors of `model` by the names it has for them, each directly in its `folder`.

    Raises InputError for any other place, a link that leads out of the folder among them.
    """
    found: dict[str, Path] = {}
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key != "location" or entry.value in found:
                continue
            path = folder / entry.value
            is_plain = entry.value not in {"", ".", ".."} and not set(entry.value) & set("/\\\0")
            if not is_plain or not path.is_file() or path.resolve().parent != folder.resolve():
                raise InputError(
                    f"the model in {folder} has tensors in {entry.value!r}, which is no file of that folder; export it "
                    "again, or put the file beside it"
                )
            found[entry.value] = path
    return found


def shape_of(value: "ValueInfoProto") -> list[int | None]:
    """The shape of an input or an output; an axis that may vary is None."""
    axes = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]


def _graphs(model: "ModelProto") -> Iterator[Any]:
    """All that has nodes: the graph, its branches and loops, and the bodies of functions."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(model: "ModelProto") -> Iterator[Any]:
    for graph in _graphs(model):
        sparse = list(getattr(graph, "sparse_initializer", ()))  # functions have none
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from [attribute.t] if attribute.HasField("t") else []
                yield from attribute.tensors
                sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                sparse += attribute.sparse_tensors
        for one in sparse:
            yield from (one.values, one.indices)
