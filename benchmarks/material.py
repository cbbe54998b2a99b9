"""The recordings that are measured on: ESC-10, from the folder that the tests read too."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.decode import decode

ESC10 = Path(os.environ.get("TIMBREL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "esc10"


@cache
def paths(n_clips: int) -> tuple[Path, ...]:
    """`n_clips` recordings spread over all classes, always the same."""
    everything = sorted((ESC10 / "audio").glob("*.ogg"))
    if len(everything) < n_clips:
        raise SystemExit(
            f"{ESC10}/audio has {len(everything)} recordings; name a folder with ESC-10's 400 in TIMBREL_TEST_DATA"
        )
    return tuple(everything[i * len(everything) // n_clips] for i in range(n_clips))


def waveforms(n_clips: int, sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """`paths`, decoded."""
    return [decode(path, sample_rate_hz) for path in paths(n_clips)]
