"""One stream's encoder: tokens in, a 64-dimensional embedding and its class scores out.

A projection of each 25 ms token, positions by time, a small Transformer, pooling over the tokens that exist, an
embedding and a linear classifier, as in arXiv 2309.08751. The waveform has a learned front end in place of the
projection (Verma & Berger, Audio Transformers, arXiv 2105.00335).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.dropout import Dropout
from training.inputs import EncoderShape, Normalisation

CLAMP = 8.0
"""Normalised inputs are held within this many standard deviations: descriptors have heavy tails."""

N_FILTERS = 40
FILTER_SAMPLES = 160
FILTER_STEP = 80
"""The waveform's filters: 10 ms long, one step every 5 ms inside a 25 ms patch of 16 kHz samples."""


class StreamEncoder(nn.Module):
    """The encoder of one stream; it carries its normalisation, so that a checkpoint is complete.

    A stream of pretrained embeddings has few tokens, each of which says almost everything: beside the Transformer a
    linear path leads from their mean and standard deviation straight to the embedding (docs/decisions/0007). What it
    says in the end is the mean of its own scores and of a linear probe on the same two (docs/decisions/0008), which is
    fitted by itself and takes no part in training.
    """

    def __init__(self, shape: EncoderShape, *, dropout: float = 0.0, token_mask: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.tokenize = Tokenizer(shape, dropout=dropout, token_mask=token_mask)
        self.summarize = Summary(shape, dropout=dropout)
        self.linear_path = nn.Linear(2 * shape.n_channels, shape.dim) if shape.is_embedding else None
        probe = nn.Linear(2 * shape.n_channels, shape.n_labels).requires_grad_(False)
        self.probe = probe if shape.is_embedding else None
        self.embedding_norm = nn.LayerNorm(shape.dim)
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(shape.dim, shape.n_labels)

    def forward(self, inputs: Tensor, mask: Tensor, times_s: Tensor) -> Tensor:
        """The class scores (n, n_labels) of n windows, before softmax or sigmoid.

        inputs: (n, n_tokens, n_channels) as stored, not yet normalised. mask: (n, n_tokens), True where a token exists.
        times_s: (n, n_tokens) seconds after the window's start.
        """
        return self.answer(self.embedding(inputs, mask, times_s), inputs, mask)

    def answer(self, embedding: Tensor, inputs: Tensor, mask: Tensor) -> Tensor:
        """The class scores (n, n_labels) of windows whose embeddings (n, dim) are known already."""
        scores = self.score(embedding)
        return scores if self.probe is None else (scores + self.probe(self.pooled(inputs, mask))) / 2

    def pooled(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Mean and standard deviation (n, 2 * n_channels) of the normalised inputs, which the probe hears."""
        return pool(self.tokenize.normalise(inputs), mask)

    def score(self, embedding: Tensor) -> Tensor:
        """The class scores (n, n_labels) that training looks at, of embeddings (n, dim)."""
        scores: Tensor = self.classify(self.dropout(embedding))
        return scores

    def embedding(self, inputs: Tensor, mask: Tensor, times_s: Tensor) -> Tensor:
        """The embedding (n, dim) of n windows; arguments as for `forward`. A window without tokens gives a constant."""
        tokens, token_mask, _ = self.tokenize(inputs, mask, times_s)
        summary = self.summarize(tokens, token_mask)
        if self.linear_path is not None:
            summary = summary + self.linear_path(self.pooled(inputs, mask))
        embedded: Tensor = self.embedding_norm(summary)
        return embedded


class Tokenizer(nn.Module):
    """From a stream's frames to tokens: normalise, project, merge neighbours, add positions in time."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: EncoderShape, *, dropout: float, token_mask: float) -> None:
        super().__init__()
        self.shape = shape
        self.token_mask = token_mask
        self.register_buffer("mean", torch.zeros(shape.n_channels))
        self.register_buffer("std", torch.ones(shape.n_channels))
        self.front: nn.Module = (
            WaveformFront(shape.n_channels, shape.dim) if shape.is_waveform else nn.Linear(shape.n_channels, shape.dim)
        )
        self.merge = nn.Linear(shape.merge * shape.dim, shape.dim) if shape.merge > 1 else None
        self.hidden_token = nn.Parameter(torch.zeros(shape.dim))
        self.dropout = Dropout(dropout)

    def set_normalisation(self, normalisation: Normalisation) -> None:
        """Take over statistics that were fitted on training frames."""
        self.mean.copy_(torch.from_numpy(normalisation.mean))
        self.std.copy_(torch.from_numpy(normalisation.std))

    def normalise(self, inputs: Tensor) -> Tensor:
        """Inputs (..., n_channels) in standard deviations from the mean; a waveform's samples in their own."""
        if self.shape.is_waveform:  # a clamp would distort what is loud; its mean is 0
            return inputs / self.std
        scaled = torch.addcmul(-self.mean / self.std, inputs, 1 / self.std)  # one pass over what is the most memory
        return scaled.clamp_(-CLAMP, CLAMP)

    def forward(self, inputs: Tensor, mask: Tensor, times_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (n, n_groups, dim), their mask and their times; in training some are hidden (SpecAugment's idea)."""
        tokens = self.front(self.normalise(inputs))
        if self.merge is not None:
            grouped, mask, times_s = group(tokens, mask, times_s, self.shape.merge)
            tokens = self.merge(grouped)
        if self.training and self.token_mask > 0:
            is_hidden = torch.rand(mask.shape, device=mask.device) < self.token_mask
            tokens = torch.where(is_hidden[..., None], self.hidden_token, tokens)
        return self.dropout(tokens + positions(times_s, self.shape.dim)), mask, times_s


class Summary(nn.Module):
    """From tokens to one vector: a small Transformer, then pooling over the tokens that exist."""

    def __init__(self, shape: EncoderShape, *, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        self.embed = nn.Linear(2 * shape.dim, shape.dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        summary: Tensor = self.embed(pool(self.transform(tokens, mask), mask))
        return summary

    def transform(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The tokens (n, n_tokens, dim) once each has heard the others."""
        for block in self.blocks:
            tokens = block(tokens, mask)
        transformed: Tensor = self.norm(tokens)
        return transformed


class Block(nn.Module):
    """One Transformer layer, normalised before attention and before the two-layer network (Xiong et al. 2020)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.network_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, 2 * dim)
        self.narrow = nn.Linear(2 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        n, n_tokens, dim = tokens.shape
        mask = mask | ~mask.any(dim=1, keepdim=True)  # a window without tokens: whatever it attends to, nobody reads it
        split = self.query_key_value(self.attention_norm(tokens)).view(n, n_tokens, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # 3 x (n, heads, n_tokens, dim / heads)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        attended = attended.transpose(1, 2).reshape(n, n_tokens, dim)  # (n, n_tokens, dim)
        tokens = tokens + self.dropout(self.attention_out(attended))
        changed: Tensor = self.dropout(self.narrow(F.gelu(self.widen(self.network_norm(tokens)))))
        return tokens + changed


class WaveformFront(nn.Module):
    """Learned filters on the samples of each patch: convolve in quadrature, rectify, pool, compress, project.

    The filters start as windowed cosines and sines on a mel scale, so that training begins from a spectrogram rather
    than from noise, and are learned from there (Zeghidour et al., LEAF, ICLR 2021). Patches shorter than one filter
    are covered by shorter filters.
    """

    def __init__(self, n_samples: int, dim: int) -> None:
        super().__init__()
        length = min(FILTER_SAMPLES, n_samples)
        self.filters = nn.Parameter(mel_quadrature_filters(N_FILTERS, length))
        self.norm = nn.LayerNorm(2 * N_FILTERS)
        self.project = nn.Linear(2 * N_FILTERS, dim)

    def forward(self, samples: Tensor) -> Tensor:
        n, n_tokens, n_samples = samples.shape
        pieces = samples.reshape(n * n_tokens, n_samples).unfold(-1, self.filters.shape[-1], FILTER_STEP)
        # One matrix product, for which the CPU is faster than for a convolution with a single input channel.
        filtered = pieces @ self.filters[:, 0].T  # cosines, then sines
        energy = (
            filtered[..., :N_FILTERS].square() + filtered[..., N_FILTERS:].square()
        )  # (n * n_tokens, steps, filters)
        level = torch.log(torch.stack([energy.mean(dim=1), energy.amax(dim=1)], dim=1) + 1e-5)
        mean, loudest = level.unbind(dim=1)
        pooled = torch.cat([mean, loudest - mean], dim=-1)
        projected: Tensor = self.project(self.norm(pooled))
        return projected.view(n, n_tokens, -1)


def mel_quadrature_filters(n_filters: int, length: int) -> Tensor:
    """(2 * n_filters, 1, length) float32: Hann-windowed cosines, then sines, spaced on the mel scale up to Nyquist.

    Scale: O'Shaughnessy's 2595 log10(1 + f / 700), for 16 kHz; each filter has unit energy times sqrt(2).
    """
    top = 2595 * math.log10(1 + 7600 / 700)
    frequencies = 700 * (10 ** (np.linspace(top / 64, top, n_filters) / 2595) - 1) / 16_000  # cycles a sample
    phase = 2 * np.pi * frequencies[:, None] * (np.arange(length) - (length - 1) / 2)
    window = np.hanning(length + 2)[1:-1]
    filters = np.concatenate([np.cos(phase), np.sin(phase)]) * window / np.sqrt(np.square(window).sum() / 2)
    return torch.from_numpy(filters.astype(np.float32))[:, None, :]


def group(tokens: Tensor, mask: Tensor, times_s: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Put `size` neighbouring tokens side by side, zeros where one is missing.

    Returns tokens (n, n_groups, size * dim), mask (n, n_groups), True where any of a group exists, and the mean time
    of those that do.
    """
    n, n_tokens, dim = tokens.shape
    missing = -n_tokens % size
    present = F.pad(mask, (0, missing)).view(n, -1, size)
    grouped = F.pad(tokens * mask[..., None], (0, 0, 0, missing)).view(n, -1, size * dim)  # (n, n_groups, size * dim)
    total_s = (F.pad(times_s, (0, missing)).view(n, -1, size) * present).sum(dim=-1)
    return grouped, present.any(dim=-1), total_s / present.sum(dim=-1).clamp(min=1)


def positions(times_s: Tensor, dim: int) -> Tensor:
    """Sinusoids of time (Vaswani et al. 2017): (..., dim), with periods from 50 ms to 50 s."""
    rates = torch.logspace(math.log10(1 / 0.05), math.log10(1 / 50), dim // 2, device=times_s.device)
    phase = 2 * math.pi * times_s[..., None] * rates
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)


def pool(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the tokens that exist, 0 where none does: (n, n_tokens, dim) -> (n, 2 * dim)."""
    share = mask[..., None].to(tokens.dtype) / mask.sum(dim=1, keepdim=True)[..., None].clamp(min=1)
    mean = (tokens * share).sum(dim=1)
    variance = ((tokens - mean[:, None]).square() * share).sum(dim=1)
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=-1)


def n_parameters(encoder: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in encoder.parameters())
