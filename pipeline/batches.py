"""Cut what is wanted into batches: by seconds of audio, clips of like length together. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.plan import StreamPlan, WantedClip
from storage_schema.streams import StreamSpec

BATCH_S = 120.0
"""Seconds of audio a batch: some seconds of work for the slowest stream, and what a killed run loses at most."""

_UNKNOWN_S = 10.0
"""What a clip whose header tells no length is taken for."""


@dataclass(frozen=True)
class Batch:
    """The unit of work and of loss: some clips of one stream, which become one part."""

    spec: StreamSpec
    clips: tuple[WantedClip, ...]

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same work as two batches, for finding the clip that takes its worker down."""
        middle = len(self.clips) // 2
        return Batch(self.spec, self.clips[:middle]), Batch(self.spec, self.clips[middle:])


def cut_batches(plan: StreamPlan, batch_s: float = BATCH_S) -> list[Batch]:
    """The plan's clips in batches of about `batch_s` seconds of audio, the longest clips first.

    Every clip is in exactly one batch; a clip longer than `batch_s` is a batch of its own. Long ones first, because a
    long batch that starts last keeps one worker busy while the others wait.
    """
    return [Batch(plan.spec, clips) for clips in _cut(plan.wanted, batch_s)]


def _cut(clips: tuple[WantedClip, ...], batch_s: float) -> Iterator[tuple[WantedClip, ...]]:
    current: list[WantedClip] = []
    seconds = 0.0
    for clip in sorted(clips, key=lambda clip: (-_length_s(clip), clip.clip_id)):
        if current and seconds + _length_s(clip) > batch_s:
            yield tuple(current)
            current, seconds = [], 0.0
        current.append(clip)
        seconds += _length_s(clip)
    if current:
        yield tuple(current)


def _length_s(clip: WantedClip) -> float:
    return _UNKNOWN_S if clip.duration_s is None else clip.duration_s
