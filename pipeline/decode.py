"""From a file to a waveform: the only module that opens audio.

Nothing here trusts the file. It is decoded block by block, so that a header that promises a year of audio allocates
nothing; and libsndfile is handed the open file rather than its name, so that bytes alone, not a suffix, decide what
they are.

A truncated file is what its decoder makes of it: WAV, AIFF, AU, W64, Ogg and MP3 that stop early are shorter clips, as
every player treats them, while FLAC (and CAF cut near its front) is refused as `undecodable`.
"""

import hashlib
import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.locations import Location, open_file
from storage_schema.errors import ClipError

CLIP_ID_BYTES = 16
"""128 bits of BLAKE2b name a clip by its bytes."""

_BLOCK_SAMPLES = 2**20
"""Samples decoded at once, over all channels: 4 MB of float32, whatever the header says."""

_LARGEST_LEVEL = 2.0**32
"""Above what 32-bit integers reach when they are kept as floats. Far beyond it the squares of samples overflow float32,
and Essentia's peak finding never returns from a spectrum that holds NaN."""

_UNKNOWN_LENGTH = 2**63 - 1
"""What libsndfile reports where a header does not state how many samples follow (SF_COUNT_MAX)."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file states; `n_samples` counts those of one channel at the file's own rate."""

    duration_s: float
    sample_rate_hz: int
    n_channels: int
    n_samples: int


@dataclass(frozen=True)
class Sound:
    """A recording as it was decoded: the mean of its channels (n_samples,) float32, at the file's own rate in Hz."""

    waveform: NDArray[np.float32]
    rate_hz: int


def decode(path: Location, sample_rate_hz: int) -> NDArray[np.float32]:
    """The mean of the channels of the file at `path`, at `sample_rate_hz`, full scale at 1.

    Returns (n_samples,) float32, finite, with at least one sample; resampled by soxr at VHQ where the file's own rate
    differs. A clip too short to reach the new rate's first sample is its mean.
    Raises ClipError: `vanished`, `unreadable`, `empty`, `undecodable` (which is also what takes more memory than there
    is, such as an hour that claims to be sampled once a second) or `not_finite`.
    """
    return resample(path, read_sound(path), sample_rate_hz)


def decode_each(path: Location, sample_rates_hz: Collection[int]) -> tuple[dict[int, NDArray[np.float32]], float]:
    """`decode` at each of several rates, by rate, of one reading of the file; and how many seconds it lasts.

    Raises ClipError as `decode` does.
    """
    sound = read_sound(path)
    found = {rate_hz: resample(path, sound, rate_hz) for rate_hz in sample_rates_hz}
    return found, len(sound.waveform) / sound.rate_hz


def read_sound(path: Location) -> Sound:
    """The mean of the channels at the file's own rate, checked. Raises ClipError as `decode` does."""
    with _within_memory(path):
        with _open(path) as file, _sound(path, file) as sound:
            own_rate_hz = int(sound.samplerate)
            blocks = list(_mono_blocks(path, sound))
        if not blocks:
            raise ClipError("empty", f"{path} holds no audio sample; record it again or take it out of the dataset")
        waveform = np.concatenate(blocks)
        del blocks  # a second copy of a recording of hours is worth giving back
        _check_samples(path, waveform)
        return Sound(waveform, own_rate_hz)


def resample(path: Location, sound: Sound, sample_rate_hz: int) -> NDArray[np.float32]:
    """The sound of the file at `path` at another rate, (n_samples,) float32. Raises ClipError as `decode` does."""
    if sound.rate_hz == sample_rate_hz:
        return sound.waveform
    with _within_memory(path, f" at {sample_rate_hz} Hz"):
        resampled: NDArray[np.float32] = soxr.resample(sound.waveform, sound.rate_hz, sample_rate_hz, quality="VHQ")
        if not len(resampled):
            resampled = sound.waveform.mean(keepdims=True)
        _check_samples(path, resampled)
        return resampled


def decode_pieces(path: Location, sample_rate_hz: int) -> Iterator[NDArray[np.float32]]:
    """`decode`, piece by piece: laid end to end they are the same samples, and none is longer than some 100 s.

    Raises ClipError as `decode` does, though not before the pieces that were good; a clip too short for the new rate's
    first sample has no piece.
    """
    with _open(path) as file, _sound(path, file) as sound:
        own_rate_hz = int(sound.samplerate)
        resampler = None
        if own_rate_hz != sample_rate_hz:
            resampler = soxr.ResampleStream(own_rate_hz, sample_rate_hz, 1, dtype="float32", quality="VHQ")
        is_empty = True
        for block in _mono_blocks(path, sound):
            is_empty = False
            _check_samples(path, block)
            yield from _checked(path, resampler.resample_chunk(block) if resampler else block)
        if is_empty:
            raise ClipError("empty", f"{path} holds no audio sample; record it again or take it out of the dataset")
        if resampler:
            yield from _checked(path, resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def _checked(path: Location, piece: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The piece, unless there is nothing in it."""
    _check_samples(path, piece)
    if len(piece):
        yield piece


def probe(path: Location) -> AudioInfo:
    """Length, rate and channels by the header alone; only a header that states no length is counted by decoding.

    A length is what the file claims: a damaged file may decode to fewer samples.
    Raises ClipError: `vanished`, `unreadable`, `empty` or `undecodable`.
    """
    with _open(path) as file:
        return _probe(path, file)


def hash_file(path: Location) -> str:
    """The BLAKE2b hash of the file's bytes as 32 hexadecimal digits: the clip's id.

    Raises ClipError: `vanished` or `unreadable`. An empty file has a hash like any other.
    """
    with _open(path) as file:
        return _hash(file)


def identify(path: Location) -> tuple[str, AudioInfo | None]:
    """`hash_file` and `probe` of one reading of the file; None where its bytes are no audio, as decoding will say.

    Raises ClipError: `vanished` or `unreadable`.
    """
    with _open(path) as file:
        clip_id = _hash(file)
        file.seek(0)
        try:
            return clip_id, _probe(path, file)
        except ClipError:
            return clip_id, None


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
    """A sound that is read from front to back: soundfile seeks after each read, which fails where a length is a lie."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Location) -> Iterator[io.FileIO]:
    """The open file; ClipError where it is missing, forbidden or not a regular file."""
    try:
        with open_file(path) as file:
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClipError("vanished", f"{path} is not there ({error.strerror}); restore it, or ingest again") from error
    except OSError as error:
        raise ClipError(
            "unreadable", f"{path} cannot be read: {error.strerror}; mend it or take it out, and ingest again"
        ) from error


def _hash(file: io.FileIO) -> str:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=CLIP_ID_BYTES)).hexdigest()


def _probe(path: Location, file: io.FileIO) -> AudioInfo:
    with _sound(path, file) as sound:
        n_samples = int(sound.frames)
        if n_samples >= _UNKNOWN_LENGTH:
            n_samples = sum(len(block) for block in _mono_blocks(path, sound))
        if not n_samples:
            raise ClipError("empty", f"{path} holds no audio sample; record it again or take it out of the dataset")
        rate_hz = int(sound.samplerate)
        return AudioInfo(n_samples / rate_hz, rate_hz, int(sound.channels), n_samples)


@contextmanager
def _sound(path: Location, file: io.FileIO) -> Iterator[soundfile.SoundFile]:
    if not os.fstat(file.fileno()).st_size:
        raise ClipError("empty", f"{path} is zero bytes long; copy or record it again")
    try:
        sound = _ForwardOnly(file.fileno(), closefd=False)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a format soundfile does not read
        raise _undecodable(path, error) from error
    with sound:
        yield sound


def _mono_blocks(path: Location, sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    n_samples = max(1, _BLOCK_SAMPLES // sound.channels)
    while True:
        try:
            block = sound.read(n_samples, dtype="float32", always_2d=True)  # (sample, channel)
        except soundfile.LibsndfileError as error:
            raise _undecodable(path, error) from error
        if not len(block):
            return
        with np.errstate(invalid="ignore", over="ignore"):  # what overflows is refused by _check_samples
            yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)  # (sample,)


def _check_samples(path: Location, waveform: NDArray[np.float32]) -> None:
    lowest, highest = float(waveform.min(initial=0.0)), float(waveform.max(initial=0.0))  # NaN where any sample is
    if not np.isfinite(highest - lowest):
        n_bad = int(np.count_nonzero(~np.isfinite(waveform)))
        raise ClipError(
            "not_finite", f"{path} has NaN or infinity in {n_bad} of its {len(waveform)} samples; export it again"
        )
    largest = max(-lowest, highest)
    if largest > _LARGEST_LEVEL:
        raise ClipError(
            "undecodable", f"{path} reaches {largest:.1g} times full scale, which is no audio; export it again"
        )


@contextmanager
def _within_memory(path: Location, where: str = "") -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise ClipError(
            "undecodable", f"{path} takes more memory than there is{where}; cut it into shorter files"
        ) from error


def _undecodable(path: Location, error: Exception) -> ClipError:
    reason = getattr(error, "error_string", str(error))
    return ClipError("undecodable", f"{path} cannot be decoded: {reason} Convert it to WAV or FLAC and ingest again")
