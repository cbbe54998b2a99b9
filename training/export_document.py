"""`export.json`: what the other files of an exported folder are, and how it is read from anywhere."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage_schema.errors import InputError, StoreError
from storage_schema.regular import read_regular
from storage_schema.streams import StreamSpec
from training.inputs import n_channels
from training.recipe import Task
from training.sealed import unsealed
from training.windows import TICK_RATE_HZ, tokens_per_window

DOCUMENT, GRAPH, TENSORS = "export.json", "model.onnx", "model.safetensors"
FORMAT = 1
MAX_DOCUMENT_BYTES = 16 * 2**20
MAX_MODEL_BYTES = 2**31 - 1
"""Protobuf's own limit, far above any model of ours; whatever is larger is not read."""
SPEC_PREFIX = "fingerprint/"
"""Before a stream's name in the graph's own metadata."""


class ExportedStream(BaseModel):
    """One stream: the whole spec of what must be extracted, its fingerprint, and the shape of the graph's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: dict[str, Any]
    fingerprint: str
    n_tokens: int
    n_channels: int


class ExportedFile(BaseModel):
    """One file of the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_bytes: int
    blake2b: str


class ExportDocument(BaseModel):
    """`export.json`; `rule` says how windows become a clip's score, `licences` what the weights of each stream ask."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int
    run_id: str
    dataset: str
    task: Task
    labels: tuple[str, ...]
    folds: tuple[int, ...]
    fusion: str
    window_s: float = Field(gt=0, le=60)
    hop_s: float = Field(gt=0, le=60)
    rule: str
    streams: dict[str, ExportedStream] = Field(min_length=1)
    n_dims: int
    licences: dict[str, str]
    versions: dict[str, str]
    files: dict[Literal["model.onnx", "model.safetensors"], ExportedFile]

    @property
    def length(self) -> int:
        """A window in milliseconds."""
        return round(self.window_s * TICK_RATE_HZ)


def read_document(path: Path) -> ExportDocument:
    """The document at `path`. Raises StoreError where it is not as it was written, or not one of ours."""
    try:
        document = ExportDocument.model_validate(unsealed(read_exported_file(path, MAX_DOCUMENT_BYTES)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"{path} describes no exported model ({where}: {first['msg']}); export the run again"
        ) from error
    except ValueError as error:
        raise StoreError(f"{path} describes no exported model: {error}; export the run again") from error
    if document.format != FORMAT:
        raise StoreError(f"{path} has format {document.format}, this timbrel reads {FORMAT}; export the run again")
    return document


def read_specs(path: Path, document: ExportDocument) -> dict[str, StreamSpec]:
    """The spec of each stream. Raises StoreError where one does not agree with what stands beside it."""
    specs = {}
    for stream, one in document.streams.items():
        try:
            spec = StreamSpec.from_json(json.dumps(one.spec))
        except InputError as error:
            raise StoreError(f"{path}, stream {stream}: {error}; export the run again") from error
        shape = (tokens_per_window(spec.grid, document.length), n_channels(spec))
        if (stream, one.fingerprint, one.n_tokens, one.n_channels) != (spec.stream, spec.fingerprint, *shape):
            raise StoreError(
                f"{path}, stream {stream}: its spec is of stream {spec.stream}, has fingerprint {spec.fingerprint} "
                f"and {shape} tokens and channels, which is not what stands beside it; export the run again"
            )
        specs[stream] = spec
    return specs


def graph_metadata(document: ExportDocument) -> dict[str, str]:
    """What the graph says of itself, so that it can be told what it is without the document."""
    about = {"run_id": document.run_id, "task": document.task, "labels": json.dumps(document.labels)}
    about |= {"window_s": str(document.window_s), "hop_s": str(document.hop_s)}
    return about | {SPEC_PREFIX + stream: one.fingerprint for stream, one in document.streams.items()}


def read_exported_file(path: Path, limit: int) -> bytes:
    """The bytes of one file of the folder. Raises StoreError where it is missing, longer, or no regular file."""
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror}; name a folder that `timbrel export` wrote"
        ) from error
