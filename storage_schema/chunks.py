"""How an array of a part is cut into files, and they into chunks that are compressed each on its own."""

import math
from collections.abc import Sequence

import zarr

from storage_schema.codecs import compressors
from storage_schema.spool import Frames, join_rows

CHUNK_FRAMES = 1024
"""One chunk is what a reader of a single clip has to decompress: 26 s at 25 ms."""

SMALLEST_CHUNK_BYTES = 2**15
"""Of frames that are a number each more go into a chunk: getting at one takes longer than decompressing as much."""

SHARD_FRAMES = 32 * CHUNK_FRAMES
"""An array of more frames is cut into several files, 14 minutes at 25 ms each: writing takes memory for one of them."""


def write_array(group: zarr.Group, name: str, pieces: Sequence[Frames], dims: tuple[str, ...]) -> None:
    """Write one array, `pieces` end to end, in chunks along the first axis.

    All of it is one shard, up to SHARD_FRAMES; a shard is written at once, because Zarr reads one anew to add to it.
    """
    n_rows, shape = sum(map(len, pieces)), pieces[0].shape[1:]
    rows = min(_chunk_rows(pieces[0].dtype.itemsize * math.prod(shape)), n_rows)
    shard_rows = min(-(-n_rows // rows) * rows, SHARD_FRAMES)
    array = group.create_array(
        name,
        shape=(n_rows, *shape),
        dtype=pieces[0].dtype,
        chunks=(rows, *shape),
        shards=(shard_rows, *shape),
        compressors=compressors(pieces[0].dtype),
        dimension_names=dims,
        config={"write_empty_chunks": True},  # else a chunk of zeros and a lost file would look the same
    )
    for first in range(0, n_rows, shard_rows):
        array[first : first + shard_rows] = join_rows(pieces, first, min(first + shard_rows, n_rows))


def _chunk_rows(row_bytes: int) -> int:
    """How many rows a chunk has; a shard has a whole number of chunks."""
    rows = CHUNK_FRAMES
    while rows * row_bytes < SMALLEST_CHUNK_BYTES and rows < SHARD_FRAMES:
        rows *= 2
    return rows
