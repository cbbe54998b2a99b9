"""Find recordings and write them into the catalogue; a file is read only where its path, size or mtime is new.

Nothing is decoded here beyond the header. A file whose bytes cannot be read gets a row that says why, so that it is
missing nowhere; a file whose bytes no decoder takes is found at extraction.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.datasets import ADAPTERS, ListedClip
from pipeline.decode import identify
from pipeline.locations import Location, Stat, folder_of, is_on_s3, join, stats_below
from storage_schema.errors import ClipError, InputError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.store import Store
from storage_schema.tables import CLIPS, ClipRow

_READERS = 4
"""Threads that hash: BLAKE2b gives the interpreter lock away, and a disk likes a few requests at once."""

_ROWS_PER_COMMIT = 50_000


@dataclass(frozen=True)
class IngestReport:
    """What an ingest found. `n_unlisted` counts rows of the dataset whose file is no longer listed; they stay."""

    dataset: str
    n_listed: int
    n_new: int
    n_changed: int
    n_unchanged: int
    n_problems: int
    n_unlisted: int


def ingest(
    store: Store, adapter: str, root: Location, *, dataset: str | None = None, on_progress: OnProgress = no_progress
) -> IngestReport:
    """Bring the table of clips up to what `root` holds now.

    adapter: one of `pipeline.datasets.ADAPTERS`; it decides what is listed and reads labels, splits and folds.
    dataset: the name the rows are filed under; by default the adapter's, or the folder's for `folder` and `csv`.
    Raises InputError where the root or its metadata is missing or malformed, before anything is written.
    """
    listed = list_clips(adapter, root)
    dataset = dataset or default_name(adapter, root)
    with _reading(root):
        folder = folder_of(root)
        find = stats_below(folder)
    known = _known_rows(store, dataset)
    now = datetime.now(UTC)

    with ThreadPoolExecutor(_READERS) as readers:
        try:
            rows = []
            jobs = readers.map(lambda clip: _row(clip, dataset, folder, find, known.get(clip.uri), now), listed)
            for done, row in enumerate(jobs, start=1):
                rows.append(row)
                on_progress("ingest", done, len(listed))
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise
    news = [row for row in rows if not _is_same(row, known.get(row.uri))]
    for start in range(0, len(news), _ROWS_PER_COMMIT):
        store.merge_clips(news[start : start + _ROWS_PER_COMMIT])
    count = Counter(row.uri in known for row in news)
    return IngestReport(
        dataset=dataset,
        n_listed=len(listed),
        n_new=count[False],
        n_changed=count[True],
        n_unchanged=len(rows) - len(news),
        n_problems=sum(row.problem is not None for row in rows),
        n_unlisted=len(known.keys() - {row.uri for row in rows}),
    )


def list_clips(adapter: str, root: Location) -> Sequence[ListedClip]:
    """What the adapter finds below `root`. Raises InputError for an unknown adapter, or for two clips of one path."""
    if adapter not in ADAPTERS:
        raise InputError(f"there is no dataset kind {adapter!r}; choose from {', '.join(ADAPTERS)}")
    with _reading(root):
        if not is_on_s3(root):
            str(Path(root).absolute()).encode()  # the table of clips holds it as UTF-8
            Path(root).stat()
        listed = ADAPTERS[adapter](root)
    twice = [uri for uri, n in Counter(clip.uri for clip in listed).items() if n > 1]
    if twice:
        raise InputError(
            f"{root} lists {twice[0]!r} more than once, and {len(twice) - 1} other paths; keep one line each"
        )
    if not listed:
        raise InputError(f"{root} holds no recordings that the kind {adapter!r} knows; see `timbrel ingest --help`")
    return listed


def default_name(adapter: str, root: Location) -> str:
    """The name a dataset has when nobody gives it one."""
    if adapter not in ("folder", "csv"):
        return adapter
    return folder_of(root).rpartition("/")[2]


@contextmanager
def _reading(root: Location) -> Iterator[None]:
    """What goes wrong with the root as a whole, as an InputError that names it."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"the name of the folder {root} is no UTF-8; rename it, or a folder above it") from error
    except OSError as error:
        raise InputError(
            f"{root} does not exist or cannot be read ({error.strerror}); name the folder the recordings lie in"
        ) from error


def _known_rows(store: Store, dataset: str) -> Mapping[str, ClipRow]:
    """The dataset's rows as they stand, by uri."""
    table = store.snapshot().clips
    rows: list[dict[str, Any]] = table.filter(table["dataset"].to_numpy(zero_copy_only=False) == dataset).to_pylist()
    names = CLIPS.names
    return {row["uri"]: ClipRow(**{name: _from_arrow(row[name]) for name in names}) for row in rows}


def _from_arrow(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _row(
    clip: ListedClip, dataset: str, root: str, find: Callable[[str], Stat], known: ClipRow | None, now: datetime
) -> ClipRow:
    """One clip's row: the known facts where path, size and mtime are the same, otherwise its hash and header anew."""
    facts = ClipRow(
        dataset, clip.uri, root, None, None, None, None, None, None,
        clip.labels, clip.split, clip.fold, clip.source_group, None, None, now,
    )  # fmt: skip
    if clip.problem is not None:
        return replace(facts, problem_kind="unreadable", problem=clip.problem)
    try:
        n_bytes, mtime_ns = find(clip.uri)
        facts = replace(facts, n_bytes=n_bytes, mtime_ns=mtime_ns)
    except (OSError, ValueError):
        pass  # identify says in its own words what is wrong
    if known is not None and known.clip_id and (known.n_bytes, known.mtime_ns) == (facts.n_bytes, facts.mtime_ns):
        return _with_audio_of(known, facts)
    if known is not None:
        facts = replace(facts, replaced_clip_id=known.replaced_clip_id)
    try:
        clip_id, info = identify(join(root, clip.uri))
    except ClipError as error:
        facts = replace(facts, problem_kind=error.kind, problem=error.message)
        # What was extracted from the bytes it once had stays good: a disk that is not mounted today costs nothing.
        return _with_audio_of(known, facts) if known is not None else facts
    facts = replace(facts, clip_id=clip_id)
    if known is not None and known.clip_id not in (None, facts.clip_id):
        facts = replace(facts, replaced_clip_id=known.clip_id)
    if info is None:
        return facts
    return replace(facts, duration_s=info.duration_s, sample_rate_hz=info.sample_rate_hz, n_channels=info.n_channels)


def _with_audio_of(known: ClipRow, facts: ClipRow) -> ClipRow:
    """`facts` about the file, with what `known` says about its bytes."""
    return replace(
        facts,
        clip_id=known.clip_id,
        n_bytes=known.n_bytes,
        mtime_ns=known.mtime_ns,
        duration_s=known.duration_s,
        sample_rate_hz=known.sample_rate_hz,
        n_channels=known.n_channels,
        replaced_clip_id=known.replaced_clip_id,
    )


def _is_same(row: ClipRow, known: ClipRow | None) -> bool:
    return known is not None and replace(row, ingested_at=known.ingested_at) == known
