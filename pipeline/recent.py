"""Recordings that this worker decoded a moment ago: the streams of a clip want the same samples, at other rates."""

from collections.abc import Callable

import numpy as np

from pipeline.decode import Sound

KEPT_BYTES = 128 * 2**20
"""Six batches of the usual size at 44.1 kHz, which is further than the streams of an extraction are apart."""

LARGEST_SHARE = 16
"""A recording that would take more than this share of it is not kept; it would drive out all others."""


class RecentSounds:
    """The sounds decoded last, by clip, in one block of memory that is written round and round; for one thread.

    Kept as arrays of their own they would leave holes of all sizes among the large arrays that come and go, and those
    would be paged in anew.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._samples = np.empty(kept_bytes // np.dtype(np.float32).itemsize, np.float32)
        self._next = 0
        self._places: dict[str, tuple[int, int, int]] = {}  # by clip: where it starts and stops, and its rate

    def get(self, clip_id: str, read: Callable[[], Sound]) -> Sound:
        """The clip's sound, by `read` where it is not here any more. Raises what `read` raises."""
        if clip_id in self._places:
            start, stop, rate_hz = self._places[clip_id]
            return Sound(self._samples[start:stop].copy(), rate_hz)
        sound = read()
        n_samples = len(sound.waveform)
        if n_samples <= len(self._samples) // LARGEST_SHARE:
            start = self._next if self._next + n_samples <= len(self._samples) else 0
            stop = self._next = start + n_samples
            self._places = {
                clip: place for clip, place in self._places.items() if place[1] <= start or stop <= place[0]
            }
            self._samples[start:stop] = sound.waveform
            self._places[clip_id] = start, stop, sound.rate_hz
        return sound
