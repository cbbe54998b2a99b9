"""aiSFX embeddings of whole clips: spectrogram, network, and how the blocks follow each other.

The numbers are those of the `aisfx` distribution, which cannot be installed beside current NumPy, fails on clips
under 1.2 s and drops what is left after the last whole block; here a clip of one sample has an embedding. Values stay
below 10 on recordings, full-scale tones and full-scale noise, where float16 is good to 1 part in 2,048.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from features.extractor import Waveform
from features.neural.network import BLOCKS_PER_BATCH, embed_blocks, load_network
from features.neural.spec import BLOCK_FRAMES, EMBEDDING_LENGTH, HOP_FRAMES, SPECTRUM_HOP
from features.neural.spectrogram import N_MELS, log_mel_frames
from features.weights import weight_path
from storage_schema.streams import Arrays, StreamSpec


class AisfxEmbedding:
    """The extractor of the `neural` stream; its 4.7 million weights take 75 MB as Winograd sums."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._network = load_network(weight_path("aisfx"))

    @property
    def reach(self) -> int:
        return BLOCK_FRAMES * SPECTRUM_HOP

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        lengths = [self.spec.grid.n_frames(len(waveform)) for waveform in waveforms]
        embeddings = np.empty((sum(lengths), EMBEDDING_LENGTH), dtype=np.float16)
        waiting: list[tuple[int, NDArray[np.float32]]] = []
        blocks = chain.from_iterable(map(log_mel_blocks, waveforms, lengths))
        for row, block in enumerate(blocks):
            if block.any():
                waiting.append((row, block))
            else:
                embeddings[row] = self._of_silence
            if len(waiting) == BLOCKS_PER_BATCH:
                embeddings[[row for row, _ in waiting]] = self._embed([block for _, block in waiting])
                waiting.clear()
        if waiting:
            embeddings[[row for row, _ in waiting]] = self._embed([block for _, block in waiting])
        return [{"embedding": clip} for clip in np.split(embeddings, np.cumsum(lengths)[:-1])[: len(lengths)]]

    @cached_property
    def _of_silence(self) -> NDArray[np.float32]:
        """What the network says of digital silence, (512,); padded recordings are full of it."""
        embedding: NDArray[np.float32] = self._embed([np.zeros((BLOCK_FRAMES, N_MELS), np.float32)])[0]
        return embedding

    def _embed(self, blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = embed_blocks(self._network, torch.from_numpy(np.stack(blocks))).numpy()
        return found


def log_mel_blocks(waveform: Waveform, n_blocks: int) -> Iterator[NDArray[np.float32]]:
    """The first `n_blocks` blocks of a waveform at 44.1 kHz, (100, 96) each.

    A block is two runs of 50 spectrogram frames, and its second run is the first of the next block: each frame is
    computed once, and memory does not grow with the clip.
    """
    first_half = log_mel_frames(waveform, 0, HOP_FRAMES)
    for i in range(n_blocks):
        second_half = log_mel_frames(waveform, (i + 1) * HOP_FRAMES, HOP_FRAMES)
        yield np.concatenate([first_half, second_half])
        first_half = second_half
