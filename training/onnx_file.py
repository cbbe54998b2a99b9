"""ONNX files: one fold's graph repeated with the weights of the others, and what a foreign file may not contain.

A file from outside is only ever parsed here, never run, before it is known to be complete in itself: tensors that lie
in other files (whose paths may lead anywhere), operators of libraries, functions and loops are refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storage_schema.errors import InputError, StoreError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

OPSET = 20
"""The version of ONNX's operators; 20 is the first with GELU."""
BATCH = "windows"
"""How the graph calls its batch axis."""
PROBABILITIES, EMBEDDING = "probabilities", "embedding"

Weights = Mapping[str, NDArray[np.float32]]


def require_libraries(*names: str) -> None:
    """Raise InputError unless these libraries, which only some installations have, are installed."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise InputError(
            f"ONNX files need {' and '.join(missing)}, not installed here; pip install 'timbrel[onnx]' brings them"
        )


def import_onnx() -> ModuleType:
    """The library `onnx`, where it is installed."""
    require_libraries("onnx")
    import onnx
    import onnx.helper
    import onnx.numpy_helper

    return onnx


def average_folds(one: "ModelProto", folds: Mapping[str, Weights]) -> "ModelProto":
    """A graph that asks several folds: the mean of their probabilities, and their embeddings side by side.

    one: a fold's graph, whose weights are initializers named as in `folds`; they are replaced. Every fold's nodes and
    weights are named after it. Folds learn embeddings apart, so that a mean of those would mean nothing.
    """
    onnx = import_onnx()
    nodes, tensors, asked = [], [], []
    inputs = {value.name for value in one.graph.input}
    outputs = [value.name for value in one.graph.output]
    for fold, weights in folds.items():
        for tensor in one.graph.initializer:
            if tensor.name in weights:
                assert tuple(tensor.dims) == weights[tensor.name].shape, f"{tensor.name} stands there as it was learned"
                mine = onnx.numpy_helper.from_array(np.ascontiguousarray(weights[tensor.name]))
            else:
                mine = onnx.TensorProto.FromString(tensor.SerializeToString())
            mine.name = f"{fold}/{tensor.name}"
            tensors.append(mine)
        for node in one.graph.node:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            del copy.metadata_props[:]
            copy.name = f"{fold}/{node.name}"
            for names in (copy.input, copy.output):
                names[:] = [name if name in inputs or not name else f"{fold}/{name}" for name in names]
            nodes.append(copy)
        asked.append([f"{fold}/{name}" for name in outputs])
    probabilities, embeddings = zip(*asked, strict=True)
    nodes.append(onnx.helper.make_node("Mean", probabilities, [PROBABILITIES], name=PROBABILITIES))
    nodes.append(onnx.helper.make_node("Concat", embeddings, [EMBEDDING], name=EMBEDDING, axis=1))
    shapes = dict(zip(outputs, map(shape_of, one.graph.output), strict=True))
    n_labels, n_dims = (int(shape[1]) for shape in shapes.values())
    makes = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "fusion",
        [makes(v.name, v.type.tensor_type.elem_type, [BATCH, *shape_of(v)[1:]]) for v in one.graph.input],
        [
            makes(PROBABILITIES, onnx.TensorProto.FLOAT, [BATCH, n_labels]),
            makes(EMBEDDING, onnx.TensorProto.FLOAT, [BATCH, n_dims * len(folds)]),
        ],
        tensors,
    )
    made: ModelProto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="timbrel"
    )
    made.ir_version = min(made.ir_version, one.ir_version)
    onnx.checker.check_model(made)
    return made


def parse_model(content: bytes) -> "ModelProto":
    """The ONNX model in `content`, complete in itself. Raises StoreError that says in a clause why it is refused."""
    onnx = import_onnx()
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's own DecodeError is of one of two classes
        raise StoreError("it is no ONNX file, or torn") from error
    domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := sorted(domains - {"", "ai.onnx"}):
        raise StoreError(f"it wants operators of {foreign[0]!r}, which are not ONNX's own")
    if model.functions or model.training_info:
        raise StoreError("it has functions or training of its own, which no export of ours has")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise StoreError(f"its tensor {tensor.name!r} lies in another file, where ours are complete in themselves")
    return model  # type: ignore[no-any-return]


def _tensors(graph: "GraphProto") -> Iterator["TensorProto"]:
    """All tensors of a graph. Raises StoreError where a node has a graph in it: a branch or a loop."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise StoreError(f"its node {node.name!r} is a branch or a loop, which no export of ours has")
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ()),
                *attribute.sparse_tensors,
            ):
                yield from (sparse.values, sparse.indices)


def shape_of(value: "ValueInfoProto") -> list[int | str]:
    """The shape of an input or output; an axis that may vary is its name."""
    return [
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in value.type.tensor_type.shape.dim
    ]


def signature(values: Sequence["ValueInfoProto"]) -> dict[str, tuple[int, tuple[int | str, ...]]]:
    """Element type and shape of each value by its name."""
    return {value.name: (value.type.tensor_type.elem_type, tuple(shape_of(value))) for value in values}
