"""One batch from start to finish, in one worker: decode, extract, check, write the part, return receipts.

A plain function, so that it runs the same under Dask, in a test and in a debugger. A clip that fails becomes a `failed`
receipt with a kind and a sentence; the others of its batch are not touched by it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from features.extractor import Extractor, LocalExtractor, Waveform
from features.registry import load_extractor
from pipeline.batches import Batch
from pipeline.decode import decode_pieces, hash_file, read_sound, resample
from pipeline.limits import TimeLimit, watchdog
from pipeline.locations import stat
from pipeline.pieces import LONG_S, extract_pieces, gather
from pipeline.plan import WantedClip
from pipeline.recent import RecentSounds
from storage_schema.errors import ClipError, StoreError
from storage_schema.spool import Frames
from storage_schema.store import open_store
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.tables import ExtractionRow

T = TypeVar("T")


def extract_batch(store_uri: str, batch: Batch, limit: TimeLimit | None = None) -> list[ExtractionRow]:
    """Extract every clip of `batch` into one new part of the store; one receipt a clip, in no particular order.

    limit: how long decoding and extracting may take before they take this process down; loading the extractor, which
    is no clip's fault, and writing the part have no limit.
    Nothing is visible to readers until the receipts are committed. Raises StoreError where the store cannot be
    written; whatever is wrong with a clip is a receipt.
    """
    store = open_store(store_uri)
    spec, rate_hz = batch.spec, batch.spec.grid.sample_rate_hz
    extractor = _extractor(spec.to_json())
    started = time.perf_counter()  # once a worker, loading is no share of any clip

    receipts: list[ExtractionRow] = []
    waveforms: dict[str, Waveform] = {}
    features: dict[str, Mapping[str, Frames]] = {}
    n_samples: dict[str, int] = {}
    with watchdog(limit, batch.clips) as lengthen:
        for clip in batch.clips:
            try:
                if isinstance(extractor, LocalExtractor) and (clip.duration_s or 0.0) > LONG_S:
                    features[clip.clip_id], n_samples[clip.clip_id] = _in_pieces(extractor, clip, lengthen)
                    continue
                waveforms[clip.clip_id] = _decoded(clip, rate_hz)
                n_samples[clip.clip_id] = len(waveforms[clip.clip_id])
            except _ExtractorError as error:
                receipts.append(_failed(clip.clip_id, spec, "extract", error))
            except ClipError as error:
                receipts.append(_failed(clip.clip_id, spec, "decode", error))
        total_s = sum(n_samples.values()) / rate_hz
        lengthen(total_s)
        paths = {clip.clip_id: clip.paths[0] for clip in batch.clips}
        for clip_id, arrays in zip(waveforms, extract_checked(extractor, list(waveforms.values())), strict=True):
            if isinstance(arrays, ClipError):
                named = ClipError(arrays.kind, f"{paths[clip_id]}: {arrays.message}")
                receipts.append(_failed(clip_id, spec, "extract", named))
            else:
                features[clip_id] = arrays
    if not features:
        return receipts

    audio_s = {clip_id: n_samples[clip_id] / rate_hz for clip_id in features}
    part_id, entries = store.write_part(spec, features, audio_s)
    elapsed_ms = 1000 * (time.perf_counter() - started)
    now = datetime.now(UTC)
    receipts += [
        ExtractionRow.ok(
            entry.clip_id,
            spec.stream,
            spec.fingerprint,
            part_id=part_id,
            first_row=entry.first_row,
            n_rows=entry.n_rows,
            audio_s=audio_s[entry.clip_id],
            elapsed_ms=elapsed_ms * audio_s[entry.clip_id] / total_s,
            finished_at=now,
        )
        for entry in entries
    ]
    return receipts


def extract_checked(extractor: Extractor, waveforms: Sequence[Waveform]) -> list[Arrays | ClipError]:
    """Checked arrays, or what went wrong, a waveform; where the batch raises, each clip is tried alone.

    What went wrong does not name the file, which nobody knows here.
    """
    if not waveforms:
        return []
    try:
        results = extractor.extract(waveforms)
        for waveform, arrays in zip(waveforms, results, strict=True):
            extractor.spec.check(arrays, len(waveform))
    except Exception as error:  # an extractor may raise anything, and one clip must not cost the others
        if len(waveforms) == 1:
            return [ClipError("extractor", f"{extractor.spec.extractor} failed: {type(error).__name__}: {error}")]
        return [result for waveform in waveforms for result in extract_checked(extractor, [waveform])]
    return list(results)


_recent = RecentSounds()
"""One a worker process, where batches come one at a time (`pipeline.worker`)."""


def _decoded(clip: WantedClip, rate_hz: int) -> Waveform:
    """`decode` of a clip, which another stream may have wanted here a moment ago."""

    def read(path: str) -> Waveform:
        return resample(path, _recent.get(clip.clip_id, lambda: read_sound(path)), rate_hz)

    return _from_first_good_path(clip, read)


@lru_cache(maxsize=8)
def _extractor(spec_json: str) -> Extractor:
    """Loaded once a worker; a spec is no hashable value, its JSON is."""
    return load_extractor(StreamSpec.from_json(spec_json))


class _ExtractorError(ClipError):
    """What went wrong once a clip's samples had been read."""


def _in_pieces(
    extractor: LocalExtractor, clip: WantedClip, lengthen: Callable[[float], None]
) -> tuple[Mapping[str, Frames], int]:
    """The features of a clip too long to be decoded at once, and the number of its samples."""
    rate_hz = extractor.spec.grid.sample_rate_hz

    def read(path: str) -> tuple[Mapping[str, Frames], int]:
        def pieces() -> Iterator[tuple[Arrays, int]]:
            for arrays, n_samples in extract_pieces(extractor, decode_pieces(path, rate_hz)):
                lengthen(n_samples / rate_hz)
                yield arrays, n_samples

        try:
            return gather(extractor, pieces())
        except (ClipError, StoreError):
            raise
        except Exception as error:  # an extractor may raise anything
            message = f"{path}: {extractor.spec.extractor} failed: {type(error).__name__}: {error}"
            raise _ExtractorError("extractor", message) from error

    return _from_first_good_path(clip, read)


def _from_first_good_path(clip: WantedClip, read: Callable[[str], T]) -> T:
    """What `read` makes of the first of the clip's paths that still holds the bytes that were ingested."""
    problem: ClipError | None = None
    for path in clip.paths:
        try:
            _check_unchanged(path, clip)
            return read(path)
        except ClipError as error:
            problem = problem or error
    assert problem is not None  # a clip has at least one path
    raise problem


def _check_unchanged(path: str, clip: WantedClip) -> None:
    """Raise ClipError where the file is not the one that was ingested; hashed anew only if size or mtime moved."""
    try:
        found = stat(path)
    except OSError:
        found = None  # opening it finds the words
    if found != (clip.n_bytes, clip.mtime_ns) and hash_file(path) != clip.clip_id:
        raise ClipError("changed", f"{path} is not the file that was ingested; run `timbrel ingest` again")


def _failed(clip_id: str, spec: StreamSpec, stage: str, error: ClipError) -> ExtractionRow:
    return ExtractionRow.failed(
        clip_id, spec.stream, spec.fingerprint, stage=stage, kind=error.kind, message=error.message
    )
