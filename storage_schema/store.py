"""A store: the door to everything in it, for writers and for readers.

store = open_store("features.timbrel")
pitch = store.snapshot().stream("pitch")
pitch.read(pitch.clip_ids[0])["f0_hz"]
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from storage_schema import catalogue
from storage_schema.atomic import write_file
from storage_schema.errors import InputError, StoreError
from storage_schema.layout import Layout
from storage_schema.parts import PartEntry, write_part
from storage_schema.snapshot import Snapshot
from storage_schema.streams import Arrays, StreamSpec
from storage_schema.tables import CLIPS, EXTRACTIONS, ClipRow, ExtractionRow, to_table

SCHEMA_VERSION = 1
"""Raised whenever an older timbrel could misread what a newer one writes."""


@dataclass(frozen=True)
class Store:
    """A store that exists and has a schema version we know; made by `open_store`."""

    layout: Layout

    @property
    def uri(self) -> str:
        return str(self.layout.root)

    def snapshot(self, snapshot_id: str | None = None) -> Snapshot:
        """The newest state, or the one named `snapshot_id` by an earlier `Snapshot.id`."""
        if snapshot_id is None:
            clips, extractions = self.layout.clips, self.layout.extractions
            return Snapshot(self.layout, catalogue.current_version(clips), catalogue.current_version(extractions))
        first, dash, second = snapshot_id.partition("-")
        if not (dash and first.isdecimal() and second.isdecimal()):
            raise InputError(f"{snapshot_id!r} is no snapshot; one looks like 3-12, as `timbrel status` prints it")
        return Snapshot(self.layout, int(first), int(second))

    def merge_clips(self, rows: Iterable[ClipRow]) -> None:
        """Put rows into the table of clips, replacing those of the same dataset and uri."""
        catalogue.merge_clips(self.layout.clips, to_table(rows, CLIPS))

    def write_part(self, spec: StreamSpec, clips: Mapping[str, Arrays]) -> tuple[str, list[PartEntry]]:
        """Write one new part; its id, and where each clip lies. Nothing is visible before `commit` names it.

        Raises StoreError where the disk does not take it.
        """
        part_id = uuid4().hex
        try:
            self._write_spec(spec)
            return part_id, write_part(self.layout.part(spec.stream, spec.fingerprint, part_id), spec, clips)
        except OSError as error:
            raise StoreError(
                f"no part of stream {spec.stream} can be written below {self.layout.root}: {error.strerror or error}; "
                "make room or mend the rights, and run the same command again"
            ) from error

    def commit(self, rows: Iterable[ExtractionRow]) -> None:
        """Make extractions visible, all in one commit; committing a row twice changes nothing.

        Raises ContractError where `rows` themselves name one clip of a stream twice, StoreError where the table cannot
        be written, ConflictError where other writers were always faster.
        """
        catalogue.merge_extractions(self.layout.extractions, to_table(rows, EXTRACTIONS))

    def run_folder(self, run_id: str) -> Path:
        """Where the training run `run_id` lies, or would lie."""
        return self.layout.run(run_id)

    def runs(self) -> list[str]:
        """The ids of the finished training runs, oldest first."""
        if not self.layout.runs.is_dir():
            return []
        folders = [path for path in self.layout.runs.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return [path.name for path in sorted(folders, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    def _write_spec(self, spec: StreamSpec) -> None:
        path = self.layout.spec(spec.stream, spec.fingerprint)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, spec.to_json().encode())


def open_store(uri: str | Path, *, create: bool = False) -> Store:
    """The store at `uri`, a local folder; with `create` an empty one is made where there is none.

    Raises StoreError where there is none, or one of another schema version, or a folder with other things in it, or
    one that may not be read.
    """
    if "://" in str(uri):
        raise InputError(f"{uri} is not a local folder; this version of timbrel keeps its stores on local disks")
    try:
        layout = Layout(Path(uri).expanduser().absolute())
    except RuntimeError as error:
        raise InputError(f"{uri} is in the home of a user there is none of; write the path out") from error
    if not _is_there(layout.marker):
        if not create:
            raise StoreError(
                f"there is no timbrel store at {uri}; `timbrel ingest folder ROOT --store {uri}` makes one"
            )
        _create(layout)
    _check_version(layout)
    return Store(layout)


def _create(layout: Layout) -> None:
    """Make the tables first and the marker last, so that a crash in between is finished by the next call."""
    ours = {layout.clips.name, layout.extractions.name, layout.marker.name}
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in layout.root.iterdir() if not path.name.startswith(f".{layout.marker.name}.")}
        foreign = sorted(names - ours)  # beside the tables, a marker and its temporary may be another process's
        if foreign:
            raise StoreError(
                f"{layout.root} is not a timbrel store and not empty (it holds {foreign[0]!r}); name a new folder"
            )
        catalogue.create_table(layout.clips, CLIPS)
        catalogue.create_table(layout.extractions, EXTRACTIONS)
        marker = {"schema_version": SCHEMA_VERSION, "created_at": datetime.now(UTC).isoformat()}
        write_file(layout.marker, json.dumps(marker, indent=2).encode())
    except OSError as error:
        raise StoreError(f"no store can be made at {layout.root}: {error.strerror}") from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; mend its rights, or name another store") from error


def _check_version(layout: Layout) -> None:
    try:
        found = json.loads(layout.marker.read_bytes())["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{layout.marker} cannot be read ({error}); restore it from a backup") from error
    if found != SCHEMA_VERSION:
        raise StoreError(
            f"the store at {layout.root} has schema version {found!r}, this timbrel reads and writes {SCHEMA_VERSION}; "
            "install the timbrel that wrote it, or name another store"
        )
