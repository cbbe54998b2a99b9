"""The recordings that are measured on: ESC-10, from the folder that the tests read too."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.registry import DEFAULT_STREAMS, spec_for
from pipeline.decode import decode
from pipeline.extraction import run_extraction
from pipeline.plan import plan_extraction
from storage_schema.store import Store

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


def copy_clips(folder: Path, n_clips: int) -> Path:
    """`paths`, copied below a label's folder in `folder`, which is made and returned: a dataset of kind "folder"."""
    label = folder / "label"
    label.mkdir(parents=True)
    for path in paths(n_clips):
        (label / path.name).write_bytes(path.read_bytes())
    return folder


def extract_default_streams(store: Store) -> None:
    """All default streams of all clips that `store` lists, by as many workers as there are cores."""
    run_extraction(store, plan_extraction(store.snapshot(), [spec_for(name) for name in DEFAULT_STREAMS]))


def waveforms(n_clips: int, sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """`paths`, decoded."""
    return [decode(path, sample_rate_hz) for path in paths(n_clips)]
