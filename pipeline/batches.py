"""Cut what is wanted into batches: by seconds of audio, clips of like length together. Pure.

Where a batch ends is found for all of them at once, from lengths alone; its clips become objects when it is its turn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.plan import StreamPlan, WantedClip
from storage_schema.streams import StreamSpec

BATCH_S = 120.0
"""Seconds of audio a batch: some seconds of work for the slowest stream, and what a killed run loses at most."""


@dataclass(frozen=True)
class Batch:
    """The unit of work and of loss: some clips of one stream, which become one part."""

    spec: StreamSpec
    clips: tuple[WantedClip, ...]

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same work as two batches, for finding the clip that takes its worker down."""
        middle = len(self.clips) // 2
        return Batch(self.spec, self.clips[:middle]), Batch(self.spec, self.clips[middle:])

    def singles(self) -> tuple["Batch", ...]:
        """The same work as a batch a clip, for finding the clip that hangs: each further try costs a whole limit."""
        return tuple(Batch(self.spec, (clip,)) for clip in self.clips)


def cut_batches(plan: StreamPlan, batch_s: float = BATCH_S) -> Iterator[Batch]:
    """The plan's clips in batches of about `batch_s` seconds of audio, the longest clips first, made one by one.

    Every clip is in exactly one batch; a clip longer than `batch_s` is a batch of its own. Long ones first, because a
    long batch that starts last keeps one worker busy while the others wait.
    """
    bounds = _bounds(plan, batch_s)
    for start, stop in pairwise(bounds):
        yield Batch(plan.spec, plan.clips(start, stop))


def count_batches(plan: StreamPlan, batch_s: float = BATCH_S) -> int:
    """How many batches `cut_batches` will give."""
    return len(_bounds(plan, batch_s)) - 1


def _bounds(plan: StreamPlan, batch_s: float) -> list[int]:
    """The row each batch starts at, and the number of rows."""
    ends_s = np.cumsum(plan.lengths_s.to_numpy())  # where each clip ends, were all of them one recording
    bounds = [0]
    while bounds[-1] < len(ends_s):
        start_s = ends_s[bounds[-1] - 1] if bounds[-1] else 0.0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends_s, start_s + batch_s, side="right"))))
    return bounds
