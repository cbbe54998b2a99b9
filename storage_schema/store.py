"""A store: the door to everything in it, for writers and for readers.

store = open_store("features.timbrel")
pitch = store.snapshot().stream("pitch")
pitch.read(pitch.clip_ids[0])["f0_hz"]
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from storage_schema import catalogue
from storage_schema.errors import InputError, StoreError
from storage_schema.files import SCRATCH, BucketFiles, Files, LocalFiles
from storage_schema.labels import LabelEmbeddings, write_label_embeddings
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.layout import MARKER, RUNS, run_key, spec_key
from storage_schema.parts import PartEntry, write_part
from storage_schema.recovery import orphans
from storage_schema.snapshot import Snapshot
from storage_schema.spool import Frames
from storage_schema.streams import StreamSpec
from storage_schema.tables import CLIPS, EXTRACTIONS, PARTITION_BY, ClipRow, ExtractionRow, to_table

SCHEMA_VERSION = 2
"""Raised whenever an older timbrel could misread what a newer one writes. 2: clips.replaced_clip_id, and parts that are
named by their content."""

READABLE_VERSIONS = (1, 2)

RUN_MARKER = "metrics.json"
"""The file without which a run's folder is no run."""


@dataclass(frozen=True)
class Store:
    """A store that exists and has a schema version we know; made by `open_store`."""

    files: Files

    @property
    def uri(self) -> str:
        return self.files.uri

    def snapshot(self, snapshot_id: str | None = None) -> Snapshot:
        """The newest state, or the one named `snapshot_id` by an earlier `Snapshot.id`."""
        if snapshot_id is None:
            return Snapshot(
                self.files, catalogue.current_version(self._clips), catalogue.current_version(self._extractions)
            )
        first, dash, second = snapshot_id.partition("-")
        if not (dash and first.isdecimal() and second.isdecimal()):
            raise InputError(f"{snapshot_id!r} is no snapshot; one looks like 3-12, as `timbrel snapshots` prints it")
        return Snapshot(self.files, int(first), int(second))

    def merge_clips(self, rows: Iterable[ClipRow]) -> None:
        """Put rows into the table of clips, replacing those of the same dataset and uri."""
        table = to_table(rows, CLIPS)
        if table.num_rows:
            self._upgrade()
            catalogue.merge_clips(self._clips, table, f"{table.num_rows:,} clips written")

    def forget_clips(self, dataset: str, uris: Sequence[str]) -> None:
        """Take files out of the catalogue. What was made of their bytes stays, for other paths that have them."""
        rows = pa.table({"dataset": [dataset] * len(uris), "uri": list(uris)}, schema=pa.schema(list(CLIPS)[:2]))
        catalogue.delete_clips(self._clips, rows, f"{len(uris):,} clips forgotten")

    def write_part(
        self, spec: StreamSpec, clips: Mapping[str, Mapping[str, Frames]], audio_s: Mapping[str, float] | None = None
    ) -> tuple[str, list[PartEntry]]:
        """Write one new part; its id, and where each clip lies. Nothing is visible before `commit` names it.

        audio_s: the seconds of audio each clip was made of. Raises StoreError where the disk does not take it.
        """
        try:
            self._write_spec(spec)
            part, entries = write_part(self.files, spec, clips, audio_s)
        except OSError as error:
            raise StoreError(
                f"no part of stream {spec.stream} can be written below {self.uri}: {error.strerror or error}; "
                "make room or mend the rights, and run the same command again"
            ) from error
        return part.part_id, entries

    def commit(self, rows: Iterable[ExtractionRow]) -> None:
        """Make extractions visible, one commit a stream and fingerprint; committing a row twice changes nothing.

        Raises ContractError where `rows` themselves name one clip of a stream twice, StoreError where the table cannot
        be written, ConflictError where other writers were always faster.
        """
        of_stream: dict[tuple[str, str], list[ExtractionRow]] = defaultdict(list)
        for row in rows:
            of_stream[row.stream, row.fingerprint].append(row)
        for (stream, _), group in of_stream.items():
            n_ok = sum(row.status == "ok" for row in group)
            note = f"{stream}: {n_ok:,} extracted" + (f", {len(group) - n_ok:,} failed" if len(group) > n_ok else "")
            catalogue.merge_extractions(self._extractions, to_table(group, EXTRACTIONS), note)

    def requeue(self, stream: str, fingerprint: str, clip_ids: Sequence[str]) -> None:
        """Delete these clips' rows of a stream, good or failed, so that they count as never tried."""
        n = len(clip_ids)
        columns = {"clip_id": list(clip_ids), "stream": [stream] * n, "fingerprint": [fingerprint] * n}
        rows = pa.table(columns, schema=pa.schema(list(EXTRACTIONS)[:3]))
        catalogue.delete_extractions(self._extractions, rows, f"{stream}: {n:,} clips to be made again")

    def recover(self, spec: StreamSpec) -> int:
        """Commit the parts of a stream that a killed run wrote and did not live to commit; the number of clips."""
        snapshot = self.snapshot()
        n_adopted = 0
        named, done = snapshot.part_ids(spec.stream, spec.fingerprint), snapshot.done(spec.stream, spec.fingerprint)
        for found in orphans(self.files, spec, named, done):
            self.commit(found)
            n_adopted += len(found)
        return n_adopted

    def write_label_embeddings(self, spec: StreamSpec, found: LabelEmbeddings) -> None:
        """Put what the stream's model makes of labels beside the stream. Raises StoreError where that fails."""
        with self._said(f"the labels of stream {spec.stream} cannot be written"):
            write_label_embeddings(self.files, spec.stream, spec.fingerprint, found)

    @contextmanager
    def new_run(self, run_id: str) -> Iterator[Path]:
        """A local folder that becomes the run `run_id` when the block ends well, and vanishes when it does not.

        Raises FileExistsError where there is such a run already.
        """
        with self._said(f"run {run_id} cannot be written"), self.files.scratch() as folder:
            yield folder
            self.files.place(folder, run_key(run_id), marker=RUN_MARKER)

    def has_run(self, run_id: str) -> bool:
        with self._said(f"run {run_id} cannot be read"):
            return self.files.exists(f"{run_key(run_id)}/{RUN_MARKER}")

    @contextmanager
    def open_run(self, run_id: str) -> Iterator[Path]:
        """A finished run as a local folder to read from."""
        with ExitStack() as stack:
            with self._said(f"run {run_id} cannot be read"):  # and nothing of what happens in the caller's block
                folder = stack.enter_context(self.files.local_copy(run_key(run_id)))
            yield folder

    def add_to_run(self, run_id: str, name: str, content: bytes) -> str:
        """Write one more file beside a run's own, replacing an older one; where it lies."""
        with self._said(f"{name} of run {run_id} cannot be written"):
            self.files.write(f"{run_key(run_id)}/{name}", content)
        return self.run_uri(run_id, name)

    def run_uri(self, run_id: str, name: str) -> str:
        """Where a file of a run lies, for people."""
        return f"{self.uri}/{run_key(run_id)}/{name}"

    def runs(self) -> list[str]:
        """The ids of the finished training runs, oldest first."""
        finished = []
        with self._said("the runs cannot be listed"):
            for folder in self.files.entries(RUNS):
                finished += [
                    (entry.modified_at, folder.name)
                    for entry in self.files.entries(f"{RUNS}/{folder.name}")
                    if entry.name == RUN_MARKER and entry.modified_at is not None
                ]
        return [name for _, name in sorted(finished)]

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Make a sentence of an OSError; that something is there already is the caller's to judge."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise StoreError(f"{what} at {self.uri}: {error.strerror or error}") from error

    @property
    def _clips(self) -> str:
        return self.files.table_uri(CLIPS_KEY)

    @property
    def _extractions(self) -> str:
        return self.files.table_uri(EXTRACTIONS_KEY)

    def _upgrade(self) -> None:
        """Before the first new column is written, keep older timbrels out, which know nothing of it."""
        marker = _read_marker(self.files)
        if marker["schema_version"] != SCHEMA_VERSION:
            _write_marker(self.files, marker | {"schema_version": SCHEMA_VERSION})

    def _write_spec(self, spec: StreamSpec) -> None:
        key = spec_key(spec.stream, spec.fingerprint)
        if not self.files.exists(key):
            self.files.write(key, spec.to_json().encode())


def open_store(uri: str | Path, *, create: bool = False) -> Store:
    """The store at `uri`, a local folder or s3://bucket/prefix; with `create` an empty one is made where there is none.

    Raises StoreError where there is none, or one of another schema version, or a folder with other things in it, or
    one that may not be read.
    """
    files = _files(str(uri))
    if not _is_there(files):
        if not create:
            raise StoreError(
                f"there is no timbrel store at {uri}; `timbrel ingest folder ROOT --store {uri}` makes one"
            )
        _create(files)
    found = _read_marker(files)["schema_version"]
    if found not in READABLE_VERSIONS or isinstance(found, bool):
        raise StoreError(
            f"the store at {files.uri} has schema version {found!r}, this timbrel writes {SCHEMA_VERSION} and reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}; install the timbrel that wrote it, or name another store"
        )
    return Store(files)


def _files(uri: str) -> Files:
    scheme, there_is_one, _ = uri.partition("://")
    if there_is_one:
        if scheme != "s3":
            raise InputError(f"{uri} is neither a local folder nor s3://bucket/prefix, where a store can lie")
        from storage_schema.bucket import Bucket

        return BucketFiles(Bucket(uri.rstrip("/")))
    if not uri.strip():
        raise InputError("the store's name is empty; name a folder, or s3://bucket/prefix")
    try:
        return LocalFiles(Path(uri).expanduser().absolute())
    except RuntimeError as error:
        raise InputError(f"{uri} is in the home of a user there is none of; write the path out") from error


def _create(files: Files) -> None:
    """Make the tables first and the marker last, so that a crash in between is finished by the next call."""
    ours = {CLIPS_KEY, EXTRACTIONS_KEY, MARKER, SCRATCH}
    try:
        names = {entry.name for entry in files.entries("") if not entry.name.startswith(f".{MARKER}.")}
        foreign = sorted(names - ours)  # beside the tables, a marker and its temporary may be another process's
        if foreign:
            raise StoreError(
                f"{files.uri} is not a timbrel store and not empty (it holds {foreign[0]!r}); name a new folder"
            )
        catalogue.create_table(files.table_uri(CLIPS_KEY), CLIPS)
        catalogue.create_table(files.table_uri(EXTRACTIONS_KEY), EXTRACTIONS, PARTITION_BY)
        _write_marker(files, {"schema_version": SCHEMA_VERSION, "created_at": datetime.now(UTC).isoformat()})
    except OSError as error:
        raise StoreError(f"no store can be made at {files.uri}: {error.strerror or error}") from error


def _is_there(files: Files) -> bool:
    try:
        return files.exists(MARKER)
    except OSError as error:
        raise _unreadable(files, error) from error


def _unreadable(files: Files, error: OSError) -> StoreError:
    return StoreError(
        f"{files.uri}/{MARKER} cannot be read: {error.strerror or error}; mend that, or name another store"
    )


def _read_marker(files: Files) -> dict[str, object]:
    try:
        marker = json.loads(files.read(MARKER))
        _ = marker["schema_version"]
    except OSError as error:
        raise _unreadable(files, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{files.uri}/{MARKER} cannot be read ({error}); restore it from a backup") from error
    return dict(marker)


def _write_marker(files: Files, marker: Mapping[str, object]) -> None:
    files.write(MARKER, json.dumps(marker, indent=2).encode())
