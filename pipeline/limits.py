"""How long a batch may take, and what ends one that takes longer.

The watchdog is `faulthandler`'s: a thread of C that needs no interpreter lock, so that it also ends native code that
hangs while holding it. It ends the whole process; whoever started that process finds out which clip was to blame.
"""

import faulthandler
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from pipeline.plan import WantedClip

_SLOWEST_BYTES_PER_S = 500
"""No codec in use is leaner (Opus starts at 750 bytes a second, Codec2 and AMR do not come as music), so that a file
never holds more seconds than this, whatever its header claims."""


@dataclass(frozen=True)
class TimeLimit:
    """`start_s`, and `per_audio_s` for each second of audio.

    CREPE full, the slowest stream there is, takes 0.4 s for a second of audio; ten leaves room for slow machines and
    slower models. Thirty cover a disk that has to wake up.
    """

    start_s: float = 30.0
    per_audio_s: float = 10.0

    def of_clips(self, clips: Iterable[WantedClip]) -> float:
        """Seconds that these clips may take together, as far as their size and header tell."""
        return self.of_audio(sum(_longest_s(clip) for clip in clips))

    def of_audio(self, audio_s: float) -> float:
        return self.start_s + self.per_audio_s * audio_s


DEFAULT_LIMIT = TimeLimit()


def time_limit_of(per_audio_s: float | None) -> TimeLimit:
    """The limit with this many seconds a second of audio; the default one for None."""
    return DEFAULT_LIMIT if per_audio_s is None else TimeLimit(per_audio_s=per_audio_s)


@contextmanager
def watchdog(limit: TimeLimit | None, clips: Sequence[WantedClip]) -> Iterator[Callable[[float], None]]:
    """End this process, without a word, where the block takes longer than `clips` may; None watches nothing.

    What it yields is to be told the seconds of audio that were decoded: where they are more than was known before, the
    limit starts again with them.
    """
    if limit is None:
        yield lambda _audio_s: None
        return
    limit_s = limit.of_clips(clips)

    def lengthen(audio_s: float) -> None:
        if limit.of_audio(audio_s) > limit_s:
            _watch(limit.of_audio(audio_s))

    _watch(limit_s)
    try:
        yield lengthen
    finally:
        faulthandler.cancel_dump_traceback_later()


def _watch(limit_s: float) -> None:
    """From now on, and instead of an earlier watch."""
    faulthandler.dump_traceback_later(limit_s, exit=True, file=_nowhere())


@cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)  # stays open: the watchdog writes its traceback there


def _longest_s(clip: WantedClip) -> float:
    by_size = clip.n_bytes / _SLOWEST_BYTES_PER_S
    return by_size if clip.duration_s is None else min(clip.duration_s, by_size)
