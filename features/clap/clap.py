"""CLAP embeddings on a fixed grid of windows: no random crop, no fusion of random crops, one window at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from features.brought.pretrained import load_pretrained
from features.extractor import Waveform
from storage_schema.errors import InputError
from storage_schema.streams import Arrays, StreamSpec


class ClapEmbedding:
    """The extractor of the `clap` stream; see `clap_spec`."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        name = str(spec.parameters["model"])
        self._model, self._preprocess = load_pretrained(name, "ClapModel", "ClapFeatureExtractor")
        self._n_samples = self._preprocess.max_length_s * spec.grid.sample_rate_hz
        if self._preprocess.sampling_rate != spec.grid.sample_rate_hz:
            raise InputError(
                f"the model {name} is read with {self._preprocess.sampling_rate} Hz, where its "
                f"files say {spec.grid.sample_rate_hz}; take another model"
            )

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        return [{"embedding": self._embed(waveform)} for waveform in waveforms]

    def _embed(self, waveform: Waveform) -> np.ndarray[Any, np.dtype[np.float16]]:
        grid = self.spec.grid
        rows = np.empty((grid.n_frames(len(waveform)), *self.spec.array("embedding").shape), np.float16)
        for i in range(len(rows)):
            window = np.zeros(self._n_samples, np.float32)
            inside = waveform[i * grid.hop : i * grid.hop + self._n_samples]
            window[: len(inside)] = inside
            inputs = self._preprocess(window, sampling_rate=grid.sample_rate_hz, return_tensors="pt")
            never_longer = torch.zeros(1, 1, dtype=torch.bool)  # the library draws at random which one is
            with torch.inference_mode():
                found = self._model.get_audio_features(inputs["input_features"].float(), is_longer=never_longer)
            rows[i] = found.pooler_output[0].numpy()
        return rows
