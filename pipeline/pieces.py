"""A recording of hours, worked through in pieces: its samples and its features are never in memory all at once.

A piece is some frames and, on either side, as many samples as the extractor says that they depend on. So the numbers
are those of the clip as a whole, to the byte; the contract suite holds every such extractor to it.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from features.extractor import LocalExtractor, Waveform
from storage_schema.errors import StoreError
from storage_schema.spool import Spool
from storage_schema.streams import Arrays

LONG_S = 600.0
"""Recordings above this are worked through in pieces: 115 MB of samples at 48 kHz."""

_PIECE_S = 120.0
"""Seconds a piece: as many as a batch of short clips has."""


def extract_pieces(
    extractor: LocalExtractor, samples: Iterable[Waveform], piece_s: float = _PIECE_S
) -> Iterator[tuple[Arrays, int]]:
    """The arrays of the clip that `samples` is when laid end to end, some frames at a time, in order.

    With each comes how many samples have been read so far, after the last one all of them. Raises what the extractor
    raises, ContractError where what it makes is not what its spec promises, and what drawing from `samples` raises.
    """
    grid = extractor.spec.grid
    at_once = max(1, int(piece_s * grid.sample_rate_hz / grid.hop))
    margin = -(-extractor.reach // grid.hop)  # frames
    held = np.zeros(0, np.float32)  # from sample `start` on, which is the centre or the beginning of a frame
    start = done = 0

    def make(stop: int) -> Arrays:
        arrays = extractor.extract([held])[0]
        extractor.spec.check(arrays, len(held))
        skipped = done - start // grid.hop
        return {name: values[skipped : skipped + stop - done] for name, values in arrays.items()}

    for more in samples:
        held = np.concatenate([held, more])
        while start + len(held) >= (done + at_once) * grid.hop + extractor.reach:
            rest, held = held, held[: (done + at_once) * grid.hop + extractor.reach - start]
            yield make(done + at_once), start + len(rest)
            done += at_once
            following = max(0, done - margin) * grid.hop
            held, start = rest[following - start :], following
    n_samples = start + len(held)
    n_frames = grid.n_frames(n_samples)
    if n_frames > done:
        yield make(n_frames), n_samples


def gather(extractor: LocalExtractor, pieces: Iterable[tuple[Arrays, int]]) -> tuple[Mapping[str, Spool], int]:
    """All pieces on the disk, array by array, and how many samples they were made of.

    Raises StoreError where the disk has no room for them.
    """
    spools = {array.name: Spool(array) for array in extractor.spec.arrays}
    n_read = 0
    for arrays, n_samples in pieces:
        n_read = n_samples
        try:
            for name, spool in spools.items():
                spool.append(arrays[name])
        except OSError as error:
            raise StoreError(
                f"there is no room for the features of a long recording in {tempfile.gettempdir()} ({error.strerror}); "
                "make some, or set TMPDIR to a larger disk"
            ) from error
    return spools, n_read
