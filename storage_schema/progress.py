"""How work tells how far it is: plain callbacks, which a terminal, a log or Prefect can show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what, done, total), where `what` is a stage or a stream and the numbers count clips."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """For callers who do not want to know."""


@dataclass(frozen=True)
class StreamProgress:
    """How far the extraction of one stream is: clips done and failed of `n_total`, seconds of audio, and wall time."""

    stream: str
    n_ok: int
    n_failed: int
    n_total: int
    audio_s: float
    elapsed_s: float

    @property
    def n_done(self) -> int:
        return self.n_ok + self.n_failed

    @property
    def times_real_time(self) -> float:
        """Seconds of audio a second of wall time, 0 before anything is known."""
        return self.audio_s / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until all is done, were the rest like what was done; None before anything was."""
        return self.elapsed_s / self.n_done * (self.n_total - self.n_done) if self.n_done else None


OnStream: TypeAlias = Callable[[StreamProgress], None]
"""Called from the thread of the stream that it speaks of."""


def no_stream_progress(_progress: StreamProgress) -> None:
    """For callers who do not want to know."""
