"""Embeddings by a Hugging Face audio encoder, one window at a time, so that no clip hears its neighbours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from features.brought.bundle import find_bundle
from features.brought.pretrained import load_pretrained
from features.extractor import Waveform
from features.hf.hearing import hearing_of
from storage_schema.errors import InputError
from storage_schema.streams import Arrays, StreamSpec

SHORTEST_S = 0.1
"""A pooled window is filled with silence up to this length, so that any model can make a vector of it."""

ONLY_LEARNING = ("masked_spec_embed",)
"""What stands for masked steps while a model is trained; many files lack it."""


class HuggingFaceEmbedding:
    """The extractor of the `hf` stream; see `hf_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        name = str(spec.parameters["model"])
        self._hearing = hearing_of(find_bundle(name))
        self._window = round(float(str(spec.parameters["window_s"])) * spec.grid.sample_rate_hz)
        model, self._preprocess = load_pretrained(name, "AutoModel", "AutoFeatureExtractor", ONLY_LEARNING)
        self._model = model.get_encoder() if model.config.is_encoder_decoder else model
        if self._preprocess.sampling_rate != spec.grid.sample_rate_hz:
            raise InputError(
                f"the model {name} is read with {self._preprocess.sampling_rate} Hz, where its files say "
                f"{spec.grid.sample_rate_hz}; take another model"
            )
        try:  # once here, rather than as a failure of every clip
            self._embed(np.zeros(spec.grid.hop, np.float32))
        except Exception as error:  # the library raises anything
            raise InputError(f"the model {name} cannot be asked: {type(error).__name__}: {error}") from error

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        return [{"embedding": self._embed(waveform)} for waveform in waveforms]

    def _embed(self, waveform: Waveform) -> NDArray[np.float16]:
        hop, n_frames = self.spec.grid.hop, self.spec.grid.n_frames(len(waveform))
        rows = np.empty((n_frames, self._hearing.dim), np.float16)
        a_window = self._window // hop if self._hearing.token_hop else 1
        for first in range(0, n_frames, a_window):
            inside = waveform[first * hop :]
            rows[first : first + a_window] = (
                self._blocks(inside, min(a_window, n_frames - first)) if self._hearing.token_hop else self._pool(inside)
            )
        return rows

    def _blocks(self, waveform: Waveform, n_frames: int) -> NDArray[np.float32]:
        """(n_frames, dim): the mean of the tokens of each of the first `n_frames` blocks, silence after the end."""
        hearing, hop = self._hearing, self.spec.grid.hop
        assert hearing.token_hop is not None, "asked of models that have one alone"
        found = self._ask(_filled(waveform, n_frames * hop + hearing.reach))
        a_frame = hop // hearing.token_hop
        wanted = self._vectors(found.last_hidden_state[0])[: n_frames * a_frame]
        mean: NDArray[np.float32] = wanted.reshape(n_frames, a_frame, hearing.dim).mean(axis=1)
        return mean

    def _pool(self, waveform: Waveform) -> NDArray[np.float32]:
        """(dim,): what the model makes of the window that begins here, cut where the clip ends."""
        shortest = min(self._window, round(SHORTEST_S * self.spec.grid.sample_rate_hz))
        found = self._ask(_filled(waveform, min(self._window, max(shortest, len(waveform)))))
        pooled = getattr(found, "pooler_output", None)
        mean: NDArray[np.float32] = self._vectors(found.last_hidden_state if pooled is None else pooled).mean(axis=0)
        return mean

    def _vectors(self, states: torch.Tensor) -> NDArray[np.float32]:
        """(n, dim), whatever axes come before the last. Raises ValueError where that one is another."""
        if states.shape[-1] != self._hearing.dim:
            raise ValueError(f"it gives {states.shape[-1]} numbers, where its config says {self._hearing.dim}")
        vectors: NDArray[np.float32] = states.reshape(-1, self._hearing.dim).numpy()
        return vectors

    def _ask(self, samples: Waveform) -> Any:
        name = self._model.main_input_name
        inputs = self._preprocess(samples, sampling_rate=self.spec.grid.sample_rate_hz, return_tensors="pt")
        with torch.inference_mode():
            return self._model(inputs[name].float())


def _filled(waveform: Waveform, n_samples: int) -> Waveform:
    """The first `n_samples` samples, silence after the end of the clip."""
    samples = np.zeros(n_samples, np.float32)
    inside = waveform[:n_samples]
    samples[: len(inside)] = inside
    return samples
