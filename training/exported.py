"""An exported model: what its folder holds, and how it is asked without torch.

    export.json          labels, task, streams with their full specs, window, weights' licences, hashes of both files
    model.onnx           the fusion, normalisation included, all folds averaged
    model.safetensors    the same folds' tensors, named as in the run's own checkpoints below fold_<k>/

The graph takes, for each stream, `<stream>/inputs` (windows, tokens, channels) float32 as `training.inputs.make_inputs`
makes them of stored frames, `<stream>/mask` (windows, tokens) bool, True where there is a frame, and `<stream>/times_s`
(windows, tokens) float32, seconds after the window's start. A stream whose mask is False throughout is not heard. It
gives `probabilities` (windows, labels) and `embedding`, the folds' fused embeddings side by side.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from storage_schema.errors import InputError, StoreError
from storage_schema.streams import Arrays, StreamSpec
from training.export_document import (
    DOCUMENT,
    GRAPH,
    MAX_MODEL_BYTES,
    TENSORS,
    ExportDocument,
    graph_metadata,
    read_document,
    read_exported_file,
    read_specs,
)
from training.inputs import gather_inputs, n_channels
from training.onnx_file import BATCH, EMBEDDING, PROBABILITIES, import_onnx, parse_model, require_libraries, signature
from training.sealed import blake2b
from training.windows import (
    TICK_RATE_HZ,
    StreamFrames,
    Window,
    clip_ticks,
    cut_tokens,
    tokens_per_window,
    windows_of,
)

if TYPE_CHECKING:
    from onnx import ModelProto

BATCH_WINDOWS = 128
"""Windows asked for at a time, which bounds the memory."""


@dataclass(frozen=True)
class Exported:
    """A loaded export; made by `load_exported`. `session` is ONNX Runtime's."""

    document: ExportDocument
    specs: Mapping[str, StreamSpec]
    session: Any

    @property
    def labels(self) -> tuple[str, ...]:
        return self.document.labels

    def score(
        self,
        features: Mapping[str, Arrays],
        specs: Mapping[str, StreamSpec],
        duration_s: float,
        *,
        without: Collection[str] = (),
    ) -> NDArray[np.float32]:
        """The probability of every label, (n_labels,) in [0, 1], in one clip that lasts `duration_s`.

        features: the whole clip's arrays of every stream, as the extractors with `specs` made them. without: streams
        that the clip is known to lack; the fusion then goes by the others.
        Raises InputError where features were made with another fingerprint, are missing or not what their spec says.
        """
        heard = [stream for stream in self.specs if stream not in without]
        if not heard:
            raise InputError(f"nothing is left to hear; bring at least one of {', '.join(self.specs)}")
        check_fingerprints({stream: self.specs[stream] for stream in heard}, specs)
        if missing := [stream for stream in heard if stream not in features]:
            raise InputError(f"the model hears {', '.join(heard)}; {', '.join(missing)} did not come")
        frames = {stream: StreamFrames.of_clip(self.specs[stream], features[stream]) for stream in heard}
        hop = round(self.document.hop_s * TICK_RATE_HZ)
        windows = windows_of(0, clip_ticks(duration_s), self.document.length, hop)
        mean: NDArray[np.float32] = self.score_windows(frames, windows)[0].mean(axis=0)
        return mean

    def score_windows(
        self, frames: Mapping[str, StreamFrames], windows: Sequence[Window]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The probabilities (n_windows, n_labels) and the embeddings (n_windows, n_dims) of windows of `frames`."""
        parts = []
        for start in range(0, len(windows), BATCH_WINDOWS):
            inputs = window_inputs(self.specs, frames, windows[start : start + BATCH_WINDOWS])
            parts.append(self.session.run([PROBABILITIES, EMBEDDING], inputs))
        probabilities, embeddings = zip(*parts, strict=True)
        return np.concatenate(probabilities), np.concatenate(embeddings)


def check_fingerprints(wanted: Mapping[str, StreamSpec], found: Mapping[str, StreamSpec]) -> None:
    """Raise InputError unless each of the streams `wanted` came with the very fingerprint the model was fitted on."""
    for stream, spec in wanted.items():
        other = found.get(stream)
        if other is None or other.fingerprint != spec.fingerprint:
            raise InputError(
                f"the model hears stream {stream} with fingerprint {spec.fingerprint}, but "
                f"{'none' if other is None else other.fingerprint} was offered; extract it with the parameters "
                f"{dict(spec.parameters)}, or train and export again on what there is"
            )


def window_inputs(
    specs: Mapping[str, StreamSpec], frames: Mapping[str, StreamFrames], windows: Sequence[Window]
) -> dict[str, NDArray[Any]]:
    """What the graph takes of `windows`, by the names of its inputs; a stream that `frames` lacks is masked."""
    inputs: dict[str, NDArray[Any]] = {}
    for stream, spec in specs.items():
        if stream in frames:
            tokens = cut_tokens(frames[stream], windows)
            values, mask, times_s = gather_inputs(frames[stream], tokens.rows), tokens.mask, tokens.times_s
        else:
            shape = (len(windows), tokens_per_window(spec.grid, len(windows[0].span)))
            values = np.zeros((*shape, n_channels(spec)), np.float32)
            mask, times_s = np.zeros(shape, bool), np.zeros(shape, np.float32)
        inputs |= dict(zip(input_names(stream), (values, mask, times_s), strict=True))
    return inputs


def input_names(stream: str) -> tuple[str, str, str]:
    """The graph's names of a stream's inputs; no stream has a slash in its name."""
    return f"{stream}/inputs", f"{stream}/mask", f"{stream}/times_s"


def load_exported(folder: Path | str) -> Exported:
    """The model that `timbrel export` wrote to `folder`, whose files may come from anywhere.

    Raises StoreError where one is missing, torn, edited, or not what our exports are; InputError where the libraries
    for ONNX are not installed.
    """
    require_libraries("onnx", "onnxruntime")
    folder = Path(folder)
    document = read_document(folder / DOCUMENT)
    specs = read_specs(folder / DOCUMENT, document)
    contents = {}
    for name in (GRAPH, TENSORS):
        path, noted = folder / name, document.files.get(name)  # type: ignore[call-overload]
        contents[name] = read_exported_file(path, MAX_MODEL_BYTES)
        if noted is None or blake2b(contents[name]) != noted.blake2b:
            raise StoreError(
                f"{path} is not the file that {DOCUMENT} describes: its hash is {blake2b(contents[name])}, "
                f"{'none' if noted is None else noted.blake2b[:64]} was written; export the run again"
            )
    try:
        check_graph(parse_model(contents[GRAPH]), document)
    except StoreError as error:
        raise StoreError(f"{folder / GRAPH} is refused: {error}; export the run again") from error
    try:
        load(contents[TENSORS])
    except SafetensorError as error:
        raise StoreError(f"{folder / TENSORS} holds no tensors: {error}; export the run again") from error
    return Exported(document, specs, make_session(contents[GRAPH], folder / GRAPH))


def check_graph(model: "ModelProto", document: ExportDocument) -> None:
    """Raise StoreError unless the graph takes and gives what `document` says, of features with its fingerprints."""
    onnx = import_onnx()
    number, truth = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    wanted: dict[str, tuple[int, tuple[int | str, ...]]] = {}
    for stream, one in document.streams.items():
        tokens = (BATCH, one.n_tokens)
        kinds = ((number, (*tokens, one.n_channels)), (truth, tokens), (number, tokens))
        wanted |= dict(zip(input_names(stream), kinds, strict=True))
    given = {
        PROBABILITIES: (number, (BATCH, len(document.labels))),
        EMBEDDING: (number, (BATCH, document.n_dims)),
    }
    for what, found, expected in (
        ("inputs", signature(model.graph.input), wanted),
        ("outputs", signature(model.graph.output), given),
    ):
        if found != expected:
            other = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise StoreError(f"its {what} are not those that {DOCUMENT} describes, {other[0]!r} for one")
    noted = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in graph_metadata(document).items():
        if noted.get(key) != value:
            raise StoreError(f"it says {key} {str(noted.get(key))[:200]!r}, where {DOCUMENT} has {value[:200]!r}")


def make_session(content: bytes, source: Path) -> Any:
    """ONNX Runtime's session of a checked graph. Raises StoreError where it cannot be run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class of their own
        raise StoreError(f"{source} cannot be run: {str(error)[:200]}; export the run again") from error
