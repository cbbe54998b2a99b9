"""How arrays are compressed: what leaves the fewest bytes of each kind of number without being slower to read.

Measured on real features by codec and dtype: docs/performance.md.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

_SHUFFLES: Mapping[str, Literal["shuffle", "bitshuffle"]] = {"int16": "bitshuffle", "float32": "shuffle"}
"""Of samples and descriptors, the like bits or bytes of neighbours are alike: side by side they compress better."""


def compressors(dtype: np.dtype[Any]) -> tuple[ZstdCodec | BloscCodec, Crc32cCodec]:
    """zstd, after a shuffle where that helps, and a CRC32C over what comes of it."""
    shuffle = _SHUFFLES.get(dtype.name)
    return BloscCodec(cname="zstd", clevel=3, shuffle=shuffle) if shuffle else ZstdCodec(level=3), Crc32cCodec()
