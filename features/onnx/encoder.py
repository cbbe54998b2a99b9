"""Embeddings by an ONNX model, one window at a time on one thread, with ONNX Runtime's own operators alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.brought.bundle import verified_folder
from features.brought.extras import require_extra
from features.brought.onnx_file import GRAPH, read_onnx, shape_of
from features.extractor import Waveform
from features.onnx.spec import model_input
from storage_schema.errors import InputError
from storage_schema.streams import Arrays, StreamSpec

ONLY_FATAL = 4
"""ONNX Runtime's level of what it prints."""


class OnnxEmbedding:
    """The extractor of the `onnx` stream; see `onnx_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        name = str(spec.parameters["model"])
        graph = verified_folder(name) / GRAPH
        fed = model_input(read_onnx(graph).graph)
        self._input, self._n_axes = fed.name, len(shape_of(fed))
        self._output = str(spec.parameters["output"])
        self._window = round(float(str(spec.parameters["window_s"])) * spec.grid.sample_rate_hz)
        require_extra("onnx", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = ONLY_FATAL
        try:
            self._session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self._embed(np.zeros(self._window, np.float32))  # once here, rather than as a failure of every clip
        except Exception as error:  # its own kinds, or NumPy's
            reason = next(iter(str(error).strip().splitlines()), "it gives no reason")
            raise InputError(f"the model {name} cannot be run: {type(error).__name__}: {reason}") from error

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        return [{"embedding": self._clip(waveform)} for waveform in waveforms]

    def _clip(self, waveform: Waveform) -> NDArray[np.float16]:
        hop, n_frames = self.spec.grid.hop, self.spec.grid.n_frames(len(waveform))
        rows = np.empty((n_frames, *self.spec.array("embedding").shape), np.float16)
        for i in range(n_frames):
            window = np.zeros(self._window, np.float32)
            inside = waveform[i * hop : i * hop + self._window]
            window[: len(inside)] = inside
            rows[i] = self._embed(window)
        return rows

    def _embed(self, window: Waveform) -> NDArray[np.float32]:
        """(dim,): the mean over all axes but the last."""
        shaped = window.reshape((1,) * (self._n_axes - 1) + (-1,))
        found = np.asarray(self._session.run([self._output], {self._input: shaped})[0], np.float32)
        (dim,) = self.spec.array("embedding").shape
        if not found.size or not found.ndim or found.shape[-1] != dim:
            raise ValueError(f"{self._output} is of the shape {found.shape}, where the last axis was to have {dim}")
        mean: NDArray[np.float32] = found.reshape(-1, dim).mean(axis=0)
        return mean
