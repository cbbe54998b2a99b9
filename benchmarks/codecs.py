"""Bytes an hour of audio, and the speed of writing and reading them, by codec and dtype, on real features."""

import tempfile
import time
from collections.abc import Mapping

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from benchmarks import material
from benchmarks.measure import Row
from features.registry import load_extractor, spec_for
from storage_schema.chunks import CHUNK_FRAMES

_N_CLIPS = 40
_ARRAYS = {"pitch": "salience", "timbre": "descriptors", "neural": "embedding", "waveform": "samples"}
_CODECS = {
    "zstd 1": ZstdCodec(level=1),
    "zstd 3": ZstdCodec(level=3),
    "zstd 9": ZstdCodec(level=9),
    "blosc lz4 shuffle": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
    "blosc zstd shuffle": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
    "blosc zstd bitshuffle": BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
}


def codecs_row() -> Row:
    """MB an hour, MB/s written and read (of the array in memory), by array, dtype and codec; caches are warm."""
    figures: dict[str, Mapping[str, float]] = {}
    for stream, name in _ARRAYS.items():
        extractor = load_extractor(spec_for(stream))
        clips = material.waveforms(_N_CLIPS, extractor.spec.grid.sample_rate_hz)
        hours = sum(map(len, clips)) / extractor.spec.grid.sample_rate_hz / 3600
        values = np.concatenate([arrays[name] for arrays in extractor.extract(clips)])
        kinds = [values, (values / np.float32(255)).astype(np.float16)] if stream == "pitch" else [values]
        for kind in kinds:
            for codec_name, codec in _CODECS.items():
                figures[f"{stream} {kind.dtype} {codec_name}"] = _measure(kind, codec, hours)
    return Row("bytes", "features of ESC-10 clips", "the defaults are the ones that the table favours", figures=figures)


def _measure(values: np.ndarray, codec: object, hours: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        rows = min(CHUNK_FRAMES, len(values))
        array = zarr.create_array(
            f"{folder}/a.zarr",
            shape=values.shape,
            dtype=values.dtype,
            chunks=(rows, *values.shape[1:]),
            shards=(-(-len(values) // rows) * rows, *values.shape[1:]),
            compressors=(codec, Crc32cCodec()),
        )
        write_s, read_s = [], []
        for _ in range(5):
            started = time.perf_counter()
            array[...] = values
            write_s.append(time.perf_counter() - started)
            started = time.perf_counter()
            array[...]
            read_s.append(time.perf_counter() - started)
        n_bytes = array.nbytes_stored()
    mb = values.nbytes / 1e6
    return {
        "MB an hour": round(n_bytes / 1e6 / hours, 2),
        "MB/s written": round(mb / float(np.median(write_s)), 1),
        "MB/s read": round(mb / float(np.median(read_s)), 1),
    }
