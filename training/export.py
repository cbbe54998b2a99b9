"""From a run's checkpoints to a folder that needs neither torch nor the store; `training.exported` says what is in it.

A fold is traced once; the others have the same graph with other weights. What is written was run before, by ONNX
Runtime, and gave what the models themselves give.
"""

import json
import logging
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor, nn

from storage_schema.atomic import fsync_tree, place_folder
from storage_schema.errors import ContractError, InputError, StoreError
from training.encoders import StreamEncoder
from training.export_document import (
    DOCUMENT,
    FORMAT,
    GRAPH,
    TENSORS,
    ExportDocument,
    ExportedFile,
    ExportedStream,
    graph_metadata,
)
from training.exported import input_names, load_exported, make_session
from training.inputs import n_channels
from training.joint import JointModel
from training.model import FoldModel
from training.onnx_file import EMBEDDING, OPSET, PROBABILITIES, average_folds, require_libraries
from training.recipe import Task
from training.results import RunResult
from training.scoring import RULE
from training.sealed import blake2b, sealed
from training.windows import TICK_RATE_HZ, tokens_per_window

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-5
"""By how much a probability may differ between torch and ONNX Runtime, which round in another order."""
TRIAL_WINDOWS = 5

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Export:
    """What was written: where, how large, and the largest difference to the run's own models in a trial."""

    folder: Path
    n_bytes: int
    folds: tuple[int, ...]
    difference: float


class FusedWindows(nn.Module):
    """One fold's fusion as a function of windows: probabilities (n, n_labels) and the fused embedding (n, n_dims)."""

    def __init__(self, model: FoldModel) -> None:
        super().__init__()
        self.task: Task = model.task
        self.streams = tuple(model.specs)
        self.joint = model.fusion if isinstance(model.fusion, JointModel) else None
        # A list, because the name of a stream may have a dot in it, that of a module may not.
        self.encoders = nn.ModuleList([] if self.joint is not None else list(model.encoders.values()))
        loudness = torch.ones(len(self.streams))  # a single stream speaks for itself
        if not isinstance(model.fusion, JointModel) and len(self.streams) > 1:
            late = model.fusion
            loudness = torch.tensor([late.weights[one] / late.spreads[one] for one in self.streams])
        self.register_buffer("loudness", loudness)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        batch = {}
        for stream in self.streams:
            values, mask, times_s = (inputs[name] for name in input_names(stream))
            batch[stream] = (values, mask, times_s)
        if self.joint is not None:
            heard = self.joint(batch)
            anything = torch.stack([mask.any(dim=1) for _, mask, _ in batch.values()]).any(dim=0)
            scores, embedding = heard.scores * anything[:, None], heard.embedding
        else:
            scores, embedding = self._late(batch)
        probabilities = torch.softmax(scores, dim=-1) if self.task == "single_label" else torch.sigmoid(scores)
        return probabilities, embedding

    def _late(self, batch: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        scores, embeddings = [], []
        loudest = self.get_buffer("loudness")
        for i, (stream, encoder) in enumerate(zip(self.streams, self.encoders, strict=True)):
            values, mask, times_s = batch[stream]
            loudness = (mask.any(dim=1).to(values.dtype) * loudest[i])[:, None]  # 0 where nothing is heard
            assert isinstance(encoder, StreamEncoder), "no other kind is kept there"
            embedding = encoder.embedding(values, mask, times_s)
            scores.append(loudness * encoder.answer(embedding, values, mask))
            embeddings.append(loudness * embedding)
        return torch.stack(scores).sum(dim=0), torch.cat(embeddings, dim=1)


def export_models(
    folder: Path, models: Mapping[int, FoldModel], result: RunResult, licences: Mapping[str, str]
) -> Export:
    """Write the models of some folds of the run `result` as the new folder `folder`.

    licences: what the licence of each stream's weights asks of who passes the model on.
    Raises InputError where `folder` is there already or cannot be written, or the libraries for ONNX are missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; name another folder with --to, or remove it")
    require_libraries("onnx", "onnxruntime", "onnxscript")
    asked = {f"fold_{number}": FusedWindows(model).eval() for number, model in models.items()}
    first = next(iter(models.values()))
    trial = _trial_inputs(first)
    graph = average_folds(
        trace(next(iter(asked.values())), trial),
        {fold: {name: value.numpy() for name, value in one.state_dict().items()} for fold, one in asked.items()},
    )
    document = _describe(models, result, licences, n_dims=_n_dims(graph))
    for key, value in graph_metadata(document).items():
        graph.metadata_props.add(key=key, value=value)
    contents = {GRAPH: graph.SerializeToString(), TENSORS: save(_tensors(models))}
    difference = _difference(contents[GRAPH], list(asked.values()), trial)
    if not difference <= TOLERANCE:
        raise ContractError(f"the exported graph differs by {difference} from the models it was made of")
    files = {name: ExportedFile(n_bytes=len(found), blake2b=blake2b(found)) for name, found in contents.items()}
    document = ExportDocument.model_validate(document.model_dump() | {"files": files})
    contents[DOCUMENT] = sealed(document.model_dump(mode="json"))
    _write(folder, contents)
    load_exported(folder)
    return Export(folder, sum(map(len, contents.values())), tuple(models), difference)


def trace(one: FusedWindows, trial: Inputs) -> "ModelProto":
    """The ONNX graph of a fold, each weight under its own name; the number of windows may vary."""
    with _without_chatter():
        program = torch.onnx.export(
            one,
            (),
            kwargs={"inputs": trial},
            dynamo=True,
            opset_version=OPSET,
            input_names=list(trial),
            output_names=[PROBABILITIES, EMBEDDING],
            dynamic_shapes={"inputs": {name: {0: torch.export.Dim.DYNAMIC} for name in trial}},
            optimize=False,  # which would fold transposes into the weights; ONNX Runtime does so by itself
            verbose=False,
        )
    assert program is not None, "the exporter returns a program unless it is given a file"
    return program.model_proto


@contextmanager
def _without_chatter() -> Iterator[None]:
    """The exporter warns of its own innards, and of libraries it could have used."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        log.setLevel(level)


def _trial_inputs(model: FoldModel) -> Inputs:
    """Windows of noise as loud as what the model was fitted on; the last is short, the first lacks the first stream."""
    generator = torch.Generator().manual_seed(0)
    length = round(model.recipe.window.length_s * TICK_RATE_HZ)
    inputs: Inputs = {}
    networks = model.fusion.encoders if isinstance(model.fusion, JointModel) else model.encoders
    for stream, spec in model.specs.items():
        n_tokens = tokens_per_window(spec.grid, length)
        tokenizer: Any = networks[stream].tokenize
        noise = torch.randn(TRIAL_WINDOWS, n_tokens, n_channels(spec), generator=generator)
        mask = torch.ones(TRIAL_WINDOWS, n_tokens, dtype=torch.bool)
        mask[-1, 1:] = False
        if len(model.specs) > 1 and not inputs:
            mask[0] = False
        times_s = (torch.arange(n_tokens) / spec.grid.frame_rate_hz).expand(TRIAL_WINDOWS, -1).contiguous()
        values = (tokenizer.mean + tokenizer.std * noise).float()
        inputs |= dict(zip(input_names(stream), (values, mask, times_s.float()), strict=True))
    return inputs


def _difference(graph: bytes, asked: list[FusedWindows], trial: Inputs) -> float:
    """The largest difference between ONNX Runtime's probabilities and the mean of those of the folds' models."""
    session = make_session(graph, Path(GRAPH))
    (found,) = session.run([PROBABILITIES], {name: value.numpy() for name, value in trial.items()})
    with torch.inference_mode():
        wanted = torch.stack([one(trial)[0] for one in asked]).mean(dim=0).numpy()
    return float(np.max(np.abs(found - wanted)))


def _n_dims(graph: "ModelProto") -> int:
    return int(graph.graph.output[1].type.tensor_type.shape.dim[1].dim_value)


def _tensors(models: Mapping[int, FoldModel]) -> dict[str, NDArray[Any]]:
    """What the fusion of each fold learned, under the names of the checkpoints."""
    tensors: dict[str, NDArray[Any]] = {}
    for number, model in models.items():
        networks: dict[str, nn.Module]
        if isinstance(model.fusion, JointModel):
            networks = {"joint": model.fusion}
        else:
            networks = {f"stream/{stream}": encoder for stream, encoder in model.encoders.items()}
            for name in ("weights", "spreads"):
                values = [getattr(model.fusion, name)[stream] for stream in model.specs]
                tensors[f"fold_{number}/fusion/{name}"] = np.array(values, np.float64)
        for prefix, network in networks.items():
            for name, value in network.state_dict().items():
                tensors[f"fold_{number}/{prefix}/{name}"] = np.ascontiguousarray(value.numpy())
    return tensors


def _describe(
    models: Mapping[int, FoldModel], result: RunResult, licences: Mapping[str, str], *, n_dims: int
) -> ExportDocument:
    first = next(iter(models.values()))
    window = first.recipe.window
    length = round(window.length_s * TICK_RATE_HZ)
    libraries = ("timbrel", "torch", "onnx", "onnxscript", "onnxruntime")
    return ExportDocument(
        format=FORMAT,
        run_id=result.run_id,
        dataset=result.dataset,
        task=first.task,
        labels=first.labels,
        folds=tuple(models),
        fusion=first.recipe.fusion.kind if len(first.specs) > 1 else "alone",
        window_s=window.length_s,
        hop_s=window.hop_s,
        rule=RULE,
        streams={
            stream: ExportedStream(
                spec=json.loads(spec.to_json()),
                fingerprint=spec.fingerprint,
                n_tokens=tokens_per_window(spec.grid, length),
                n_channels=n_channels(spec),
            )
            for stream, spec in first.specs.items()
        },
        n_dims=n_dims,
        licences=dict(licences),
        versions={"python": platform.python_version()} | {name: version(name) for name in libraries},
        files={},
    )


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put the files there as one new folder, whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        fsync_tree(temporary)
        place_folder(temporary, folder)
    except FileExistsError as error:
        raise InputError(f"{folder} is there already; name another folder with --to, or remove it") from error
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error.strerror or error}; make room, or name another"
        ) from error
    finally:
        rmtree(temporary, ignore_errors=True)
