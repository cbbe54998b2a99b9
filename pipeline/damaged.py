"""Damaged copies of recordings as files, so that they go through ingest and extraction like any other recording.

A copy is mono 32-bit float WAV at the recording's own rate: what `pipeline.decode` makes of a clean copy is, bit for
bit, what it makes of the recording. The files do not say when they were written: the same sound is the same file.
"""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from pipeline.conditions import Condition
from pipeline.decode import decode, hash_file, probe
from pipeline.perturb import Waveform, generator_of
from storage_schema.errors import ClipError, InputError
from storage_schema.progress import OnProgress, no_progress

MAX_WAV_BYTES = 2**32 - 2**12
"""Of samples; the lengths in a WAV file's header have 32 bits."""


@dataclass(frozen=True)
class Original:
    """A recording to be damaged, known by its bytes.

    paths: where they may lie; the first that holds them is read. noises: recordings to mix in, the first that can be
    read, is not silent and is none of `never`, by clip_id, is taken.
    """

    clip_id: str
    paths: Sequence[str]
    noises: Sequence[str] = ()
    never: Collection[str] = ()


@dataclass(frozen=True)
class Job:
    """A recording, the conditions it is to be damaged by, and the file each copy goes to."""

    original: Original
    copies: Sequence[tuple[Condition, Path]]


def write_copies(
    jobs: Sequence[Job], seed: int, n_threads: int, on_progress: OnProgress = no_progress
) -> list[list[str | None]]:
    """Write the copies of every job; for each copy, None, or why there is none in a sentence.

    Raises InputError where there is no room for them.
    """
    found = []
    with ThreadPoolExecutor(n_threads) as threads:
        try:
            for done, problems in enumerate(threads.map(lambda job: _write(job, seed), jobs), start=1):
                found.append(problems)
                on_progress("damaging", done, len(jobs))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _write(job: Job, seed: int) -> list[str | None]:
    original = job.original
    try:
        path = _present(original)
        rate_hz = probe(path).sample_rate_hz
        waveform = decode(path, rate_hz)
    except ClipError as error:
        return [f"{error.kind}: {error.message}"] * len(job.copies)
    needs_noise = any(condition.needs_noise for condition, _ in job.copies)
    noise = _draw_noise(original, rate_hz, len(waveform), seed) if needs_noise else None
    problems: list[str | None] = []
    for condition, target in job.copies:
        try:
            if waveform.nbytes > MAX_WAV_BYTES:
                raise ValueError("it is too long for a WAV file of 32-bit samples; cut it into shorter files")
            copy = condition.apply(waveform, rate_hz, original.clip_id, seed, noise)
        except ValueError as error:
            problems.append(f"{path}: {error}")
        else:
            _write_wav(target, rate_hz, copy)
            problems.append(None)
    return problems


def _present(original: Original) -> str:
    """The first path that holds the recording's bytes. Raises ClipError where none does."""
    problem: ClipError | None = None
    for path in original.paths:
        try:
            if hash_file(path) == original.clip_id:
                return path
            problem = problem or ClipError("changed", f"{path} is not the recording that the run was made of")
        except ClipError as error:
            problem = problem or error
    raise problem or ClipError("vanished", f"the store names no place where clip {original.clip_id} lies")


def _draw_noise(original: Original, rate_hz: int, n_samples: int, seed: int) -> Waveform | None:
    """A stretch of the first usable recording, from a random place of it where it is longer than the clip."""
    generator = generator_of(original.clip_id, f"place in the noise, seed {seed}")
    for path in original.noises:
        try:
            if hash_file(path) in original.never:
                continue
            noise = decode(path, rate_hz)
        except ClipError:
            continue
        start = int(generator.integers(0, max(0, len(noise) - n_samples) + 1))
        stretch = noise[start : start + n_samples]
        if stretch.any():
            return stretch
    return None


def _write_wav(path: Path, rate_hz: int, waveform: Waveform) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, rate_hz, waveform.astype(np.float32))
    except OSError as error:
        raise InputError(
            f"a damaged copy of {len(waveform) * 4:,} bytes cannot be written to {path.parent}: {error.strerror}; make "
            "room, or set TMPDIR to a larger disk"
        ) from error


def rounds(sizes: Iterable[int], limit: int) -> list[tuple[int, int]]:
    """Where to cut a row of `sizes` so that each stretch sums to at most `limit`, or is a single one that is larger."""
    cuts, start, filled = [], 0, 0
    stop = 0
    for stop, size in enumerate(sizes, start=1):
        if filled and filled + size > limit:
            cuts.append((start, stop - 1))
            start, filled = stop - 1, 0
        filled += size
    return [*cuts, (start, stop)] if stop else []
