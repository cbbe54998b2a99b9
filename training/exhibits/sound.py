"""A few seconds of a clip for the eye and the ear, from the store's own streams: picture, pitch contour, audio.

The waveform stream holds the samples; nothing here needs the recording.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage_schema.streams import Arrays, StreamSpec

LONGEST_S = 5.0
"""What is shown of a longer clip: its loudest stretch."""

LOWEST_HZ = 50.0
N_FFT_S, PICTURE_HOP_S = 0.064, 0.01
N_ROWS = 144
FLOOR_DB = 65.0
"""What lies so far below the loudest point of the picture is as good as silent."""

LEAST_PERIODICITY = 0.4
"""A frame less sure of its pitch than this has none."""


@dataclass(frozen=True)
class Sound:
    """`picture` is a grey PNG, dark where loud, its frequency axis logarithmic from `low_hz` to `high_hz`."""

    start_s: float
    length_s: float
    clip_s: float
    audio_flac: bytes
    picture_png: bytes
    low_hz: float
    high_hz: float


@dataclass(frozen=True)
class Contour:
    """Voiced frames in order: seconds after the clip's start, Hz, and how sure (0 to 1)."""

    times_s: tuple[float, ...]
    f0_hz: tuple[float, ...]
    periodicity: tuple[float, ...]
    hop_s: float


def is_waveform(spec: StreamSpec) -> bool:
    return [array.name for array in spec.arrays] == ["samples"]


def has_contour(spec: StreamSpec) -> bool:
    return {"f0_hz", "periodicity"} <= {array.name for array in spec.arrays}


def make_sound(spec: StreamSpec, arrays: Arrays, clip_s: float | None) -> Sound:
    """The picture and the audio of a clip of the waveform stream; `clip_s` is its length, where that is known."""
    rate_hz = spec.grid.sample_rate_hz
    samples = np.ascontiguousarray(arrays["samples"].reshape(-1)[: None if clip_s is None else round(clip_s * rate_hz)])
    n_kept = min(len(samples), round(LONGEST_S * rate_hz))
    start = _loudest(samples, n_kept, max(1, rate_hz // 10))
    kept = samples[start : start + n_kept]
    full_scale = kept.astype(np.float32) * np.float32(spec.array("samples").scale)
    return Sound(
        start_s=start / rate_hz,
        length_s=n_kept / rate_hz,
        clip_s=len(samples) / rate_hz,
        audio_flac=_flac(kept, rate_hz),
        picture_png=grey_png(spectrogram(full_scale, rate_hz)),
        low_hz=LOWEST_HZ,
        high_hz=rate_hz / 2,
    )


def make_contour(spec: StreamSpec, arrays: Arrays) -> Contour:
    """The pitch contour of a clip of a stream that holds `f0_hz` and `periodicity`."""
    f0_hz, periodicity = arrays["f0_hz"].astype(float), arrays["periodicity"].astype(float)
    voiced = np.flatnonzero((periodicity >= LEAST_PERIODICITY) & np.isfinite(f0_hz) & (f0_hz > 0))
    return Contour(
        tuple(round(spec.grid.centre_s(frame), 4) for frame in voiced.tolist()),
        tuple(f0_hz[voiced].round(2).tolist()),
        tuple(periodicity[voiced].round(3).tolist()),
        spec.grid.hop / spec.grid.sample_rate_hz,
    )


def spectrogram(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.uint8]:
    """(N_ROWS, n_columns) uint8: 255 where silent, 0 where loudest; the highest frequency is in the first row."""
    n_fft, hop = round(N_FFT_S * rate_hz), round(PICTURE_HOP_S * rate_hz)
    padded = np.pad(samples, n_fft // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.square(np.abs(np.fft.rfft(pieces * np.hanning(n_fft), axis=1)))  # (n_columns, n_bins)
    bins_hz = np.arange(power.shape[1]) * rate_hz / n_fft
    centres_hz = np.geomspace(rate_hz / 2, LOWEST_HZ, N_ROWS)
    width_hz = np.maximum(np.abs(np.gradient(centres_hz)), rate_hz / n_fft)
    bands = np.clip(1 - np.abs(bins_hz - centres_hz[:, None]) / width_hz[:, None], 0, None)  # (N_ROWS, n_bins)
    level = 10 * np.log10(bands @ power.T / bands.sum(axis=1, keepdims=True) + 1e-12)
    share = np.clip((level - level.max()) / FLOOR_DB + 1, 0, 1) if level.max() > -110 else np.zeros_like(level)
    pixels: NDArray[np.uint8] = np.rint(255 * (1 - share)).astype(np.uint8)
    return pixels


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG of (height, width) pixels (ISO/IEC 15948)."""
    height, width = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)  # each line begins with its filter, none
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", head) + _png_chunk(b"IDAT", body) + _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _loudest(samples: NDArray[np.int16], length: int, step: int) -> int:
    """Where the stretch of `length` samples with the most energy starts, looking every `step`."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples) - length + 1, step)
    return int(starts[np.argmax(energy[starts + length] - energy[starts])])


def _flac(samples: NDArray[np.int16], rate_hz: int) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()
