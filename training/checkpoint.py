"""One fold's models on disk: tensors as safetensors, everything else as JSON beside them.

`model.safetensors` holds arrays only and can run no code. `model.json` says what they mean, carries the whole
description of each stream, and the hashes of the tensors and of itself, so that a file that was changed or torn is
refused before a number of it is used. Both are small enough to read whole.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from storage_schema.atomic import write_file
from storage_schema.errors import InputError, StoreError
from storage_schema.regular import read_regular
from storage_schema.streams import StreamSpec
from training.baselines import LinearModel
from training.encoders import StreamEncoder
from training.fusion import Fusion
from training.inputs import encoder_shape
from training.joint import JointModel, make_joint
from training.model import FoldModel
from training.recipe import Recipe, Task
from training.sealed import blake2b, sealed, unsealed
from training.tensors import checked_tensor, fill, network_tensors

TENSORS, DOCUMENT = "model.safetensors", "model.json"
FORMAT = 4
MAX_DOCUMENT_BYTES = 16 * 2**20
MAX_TENSOR_BYTES = 2 * 2**30
"""Far above any model of ours; whatever is larger is not read."""


class _Document(BaseModel):
    """`model.json`; `specs` maps a stream to its spec as JSON text, `baselines` a name to its streams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    task: Task
    labels: tuple[str, ...]
    recipe: Recipe
    specs: dict[str, str]
    fingerprints: dict[str, str]
    weights: dict[str, float]
    spreads: dict[str, float]
    baselines: dict[str, tuple[str, ...]]
    tensors_blake2b: str


def save_checkpoint(folder: Path, model: FoldModel) -> None:
    """Write the fold's two files into `folder`, which exists; the document last."""
    tensors: dict[str, NDArray[Any]] = {}
    late = model.fusion if isinstance(model.fusion, Fusion) else Fusion({}, {})
    networks: dict[str, torch.nn.Module] = {f"stream/{stream}": encoder for stream, encoder in model.encoders.items()}
    if isinstance(model.fusion, JointModel):
        networks["joint"] = model.fusion
    for prefix, network in networks.items():
        tensors |= network_tensors(network, prefix)
    for name, baseline in model.baselines.items():
        for part in ("mean", "std", "weight", "bias"):
            tensors[f"baseline/{name}/{part}"] = np.ascontiguousarray(getattr(baseline, part))
    content = save(tensors)
    document = _Document(
        format=FORMAT,
        task=model.task,
        labels=model.labels,
        recipe=model.recipe,
        specs={stream: spec.to_json() for stream, spec in model.specs.items()},
        fingerprints={stream: spec.fingerprint for stream, spec in model.specs.items()},
        weights=dict(late.weights),
        spreads=dict(late.spreads),
        baselines={name: baseline.streams for name, baseline in model.baselines.items()},
        tensors_blake2b=blake2b(content),
    )
    write_file(folder / TENSORS, content)
    write_file(folder / DOCUMENT, sealed(document.model_dump(mode="json")))


def load_checkpoint(folder: Path) -> FoldModel:
    """The models that `save_checkpoint` wrote to `folder`. Raises StoreError that says what is wrong with the files."""
    try:
        document = _Document.model_validate(unsealed(_read(folder / DOCUMENT, MAX_DOCUMENT_BYTES)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"{folder / DOCUMENT} is no model description ({where}: {first['msg']}); train again"
        ) from error
    except ValueError as error:
        raise StoreError(f"{folder / DOCUMENT} is no model description: {error}; train again") from error
    if document.format != FORMAT:
        raise StoreError(
            f"{folder / DOCUMENT} has format {document.format}, this timbrel reads {FORMAT}; use the one that wrote it"
        )
    content = _read(folder / TENSORS, MAX_TENSOR_BYTES)
    if blake2b(content) != document.tensors_blake2b:
        raise StoreError(
            f"{folder / TENSORS} is not the file that {DOCUMENT} describes: its hash is {blake2b(content)}, "
            f"{document.tensors_blake2b} was written; restore it from a backup, or train again"
        )
    try:
        return _assemble(document, load(content))
    except (SafetensorError, InputError, KeyError, ValueError) as error:
        raise StoreError(f"the checkpoint in {folder} contradicts itself: {error}; train again") from error


def _assemble(document: _Document, tensors: dict[str, NDArray[Any]]) -> FoldModel:
    """The models, each tensor checked against the shape that the document calls for."""
    streams = list(document.recipe.data.streams)
    is_joint = document.recipe.fusion.kind != "late" and len(streams) > 1
    weighted = [] if is_joint else streams
    of_streams = (
        ("specs", document.specs, streams),
        ("weights", document.weights, weighted),
        ("spreads", document.spreads, weighted),
    )
    for name, keys, wanted in of_streams:
        if sorted(keys) != sorted(wanted):
            raise ValueError(f"its {name} are of {sorted(keys)}, its recipe is of {sorted(wanted)}")
    specs = {stream: StreamSpec.from_json(document.specs[stream]) for stream in streams}
    for stream, spec in specs.items():
        if spec.fingerprint != document.fingerprints.get(stream):
            raise ValueError(f"the description of stream {stream} has fingerprint {spec.fingerprint}, another is named")
    shapes = {stream: encoder_shape(spec, len(document.labels), document.recipe) for stream, spec in specs.items()}
    encoders = {stream: StreamEncoder(shape) for stream, shape in shapes.items()}
    fusion = make_joint(document.recipe, shapes) if is_joint else Fusion(document.weights, document.spreads)
    used: set[str] = set()
    for stream, encoder in encoders.items():
        used |= fill(encoder, f"stream/{stream}", tensors)
    if isinstance(fusion, JointModel):
        used |= fill(fusion, "joint", tensors)
    baselines = {}
    for name, members in document.baselines.items():
        n_features = len(tensors[f"baseline/{name}/mean"])
        sizes = {
            "mean": (n_features,),
            "std": (n_features,),
            "weight": (n_features, len(document.labels)),
            "bias": (len(document.labels),),
        }
        parts = {part: checked_tensor(tensors, f"baseline/{name}/{part}", shape) for part, shape in sizes.items()}
        baselines[name] = LinearModel(members, **parts)
        used |= {f"baseline/{name}/{part}" for part in sizes}
    if set(tensors) != used:
        raise ValueError(f"it holds {len(set(tensors) - used)} tensors that nothing asks for")
    return FoldModel(
        document.task,
        document.labels,
        document.recipe,
        specs,
        encoders,
        fusion,
        baselines,
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; name the folder of a finished run") from error
