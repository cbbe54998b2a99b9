"""aiSFX embeddings of whole clips: spectrogram, network, and how the blocks follow each other.

The numbers are those of the `aisfx` distribution, which cannot be installed beside current NumPy, fails on clips
under 1.2 s and drops what is left after the last whole block; here a clip of one sample has an embedding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from features.extractor import Waveform
from features.neural.network import Convolution, embed_block, load_network
from features.neural.spec import EMBEDDING_LENGTH, HOP_FRAMES
from features.neural.spectrogram import log_mel_frames
from features.weights import weight_path
from storage_schema.streams import Arrays, StreamSpec


class AisfxEmbedding:
    """The extractor of the `neural` stream; holds 4.7 million weights, 19 MB."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._network = load_network(weight_path("aisfx"))

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        return [
            {"embedding": embed_waveform(self._network, waveform, self.spec.grid.n_frames(len(waveform)))}
            for waveform in waveforms
        ]


def embed_waveform(network: tuple[Convolution, ...], waveform: Waveform, n_blocks: int) -> NDArray[np.float16]:
    """The first `n_blocks` embeddings of a waveform at 44.1 kHz, (n_blocks, 512) float16.

    A block is two runs of 50 spectrogram frames, and its second run is the first of the next block: each frame is
    computed once, and memory does not grow with the clip. Values stay below 10 on recordings, full-scale tones and
    full-scale noise, where float16 is good to 1 part in 2,048.
    """
    embeddings = np.empty((n_blocks, EMBEDDING_LENGTH), dtype=np.float16)
    first_half = log_mel_frames(waveform, 0, HOP_FRAMES)
    for i in range(n_blocks):
        second_half = log_mel_frames(waveform, (i + 1) * HOP_FRAMES, HOP_FRAMES)
        block = np.concatenate([first_half, second_half])  # (100, 96)
        embeddings[i] = embed_block(network, torch.from_numpy(block)).numpy()
        first_half = second_half
    return embeddings
