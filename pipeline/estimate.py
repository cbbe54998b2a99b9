"""What a plan will cost in time and bytes: by what the same fingerprint has cost before, or by a probe of a few clips.

Work is seconds of one worker's time. History knows it per second of audio, so does a probe; how long the whole takes is
then a matter of dealing batches to workers as extraction does. Nothing is known of a stream with neither.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.batches import BATCH_S
from pipeline.plan import ExtractionPlan, StreamPlan
from storage_schema.measured import Measured, measure
from storage_schema.progress import OnProgress, no_progress
from storage_schema.snapshot import Snapshot

Source = Literal["history", "probe"]

START_UP_S = 5.0
"""What an extraction spends besides its batches where no probe has timed it: workers, libraries, weights, closing down.
Measured for the four default streams on a machine of two cores: 4 to 5 s."""


@dataclass(frozen=True)
class StreamEstimate:
    """What one stream will take: `work_s` seconds of one worker's time, and bytes; None where nothing is known.

    `source` says what they are known from, `problem` why they are not.
    """

    stream: str
    source: Source | None = None
    work_s: float | None = None
    n_bytes: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Estimate:
    """What a plan will take on `n_workers`. Where a stream is unknown, the totals are those of the others."""

    n_workers: int
    wall_s: float
    n_bytes: float
    streams: Sequence[StreamEstimate]

    @property
    def is_complete(self) -> bool:
        return all(stream.work_s is not None for stream in self.streams)


def estimate(
    plan: ExtractionPlan,
    snapshot: Snapshot,
    n_workers: int,
    *,
    with_probe: bool = True,
    on_progress: OnProgress = no_progress,
) -> Estimate:
    """The cost of `plan`, which was made of `snapshot`. Streams that want nothing cost nothing and are not probed.

    with_probe: whether streams without history are tried on a few of their clips, which takes some ten seconds.
    """
    wanted = [stream for stream in plan.streams if stream.n_wanted]
    n_workers = max(1, min(n_workers, sum(len(_batch_lengths_s(stream)) for stream in wanted)))  # as extraction does
    history = {
        stream.spec.stream: measured
        for stream in wanted
        if (measured := measure(snapshot, stream.spec.stream, stream.spec.fingerprint))
    }
    unmeasured = [stream for stream in wanted if stream.spec.stream not in history]
    if not (unmeasured and with_probe):
        return estimate_by(plan, history, {}, {}, n_workers, START_UP_S)
    from pipeline.probe import run_probe  # which imports dask

    probe = run_probe(unmeasured, n_workers, on_progress=on_progress)
    start_up_s = max(START_UP_S, probe.start_up_s) if history else probe.start_up_s  # it did not load the others
    return estimate_by(plan, history, probe.measured, probe.problems, n_workers, start_up_s)


def estimate_by(
    plan: ExtractionPlan,
    history: Mapping[str, Measured],
    probed: Mapping[str, Measured],
    problems: Mapping[str, str],
    n_workers: int,
    start_up_s: float,
) -> Estimate:
    """The cost of `plan` by what is known of its streams; history, which is larger, before a probe. Pure."""
    streams: list[StreamEstimate] = []
    batches: list[float] = []
    for stream in plan.streams:
        name = stream.spec.stream
        measured = history.get(name) or probed.get(name)
        if not stream.n_wanted:
            streams.append(StreamEstimate(name, None, 0.0, 0.0))
        elif measured is None:
            streams.append(StreamEstimate(name, problem=problems.get(name, "never extracted, and not probed")))
        else:
            source: Source = "history" if name in history else "probe"
            work, n_bytes = measured.elapsed_s / measured.audio_s, measured.n_bytes / measured.audio_s
            lengths_s = _batch_lengths_s(stream)
            streams.append(StreamEstimate(name, source, work * sum(lengths_s), n_bytes * sum(lengths_s)))
            batches += [work * length for length in lengths_s]
    return Estimate(
        n_workers=n_workers,
        wall_s=start_up_s + deal(batches, n_workers) if batches else 0.0,
        n_bytes=sum(stream.n_bytes or 0.0 for stream in streams),
        streams=streams,
    )


def deal(work_s: Sequence[float], n_workers: int) -> float:
    """When the last of `n_workers` is done, each taking the next batch as soon as it is free."""
    free_at = [0.0] * n_workers  # a heap
    for batch_s in work_s:
        heapq.heappush(free_at, heapq.heappop(free_at) + batch_s)
    return max(free_at)


def _batch_lengths_s(stream: StreamPlan) -> list[float]:
    """Seconds of audio of each batch, the longest first, as `cut_batches` makes them to some percent.

    A clip longer than a batch is one of its own; of the others, only the sum matters.
    """
    lengths_s = stream.lengths_s.to_numpy()
    is_long = lengths_s > BATCH_S
    rest_s = float(lengths_s[~is_long].sum())
    n_batches = math.ceil(rest_s / BATCH_S)
    return [*sorted(lengths_s[is_long].tolist(), reverse=True), *[rest_s / max(1, n_batches)] * n_batches]
