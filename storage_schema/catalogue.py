"""The rows of the two tables: create, merge, delete, read at a version.

A merge is keyed, so that committing the same rows twice changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from storage_schema.delta import NOTE, commit_change, gone, open_table, storage_options, unreadable
from storage_schema.errors import ContractError

Where = Mapping[str, str]
"""Columns with the value that is wanted of each, such as {"stream": "pitch"}."""

_REPLACES = "old.status = 'failed' AND new.finished_at > old.finished_at"
"""Strictly later, so that committing one receipt twice counts its try once."""


@dataclass(frozen=True)
class Commit:
    """One entry of a table's history."""

    version: int
    at: datetime
    note: str


def create_table(uri: str, schema: pa.Schema, partition_by: Sequence[str] = ()) -> None:
    """An empty table at `uri`; one that is already there is left alone."""
    DeltaTable.create(
        uri,
        schema=schema,
        mode="ignore",
        partition_by=list(partition_by) or None,
        configuration={"delta.logRetentionDuration": "interval 36500 days"},  # a snapshot is for ever, or until `gc`
        storage_options=storage_options(uri),
    )


def current_version(uri: str) -> int:
    """The number of the newest commit."""
    return open_table(uri).version()


@dataclass(frozen=True)
class TableAt:
    """A table as it was after commit `version`, opened once, when it is first read."""

    uri: str
    version: int
    schema: pa.Schema

    def read(self, columns: Sequence[str], where: Where = MappingProxyType({})) -> pl.DataFrame:
        """Rows of some columns; those of `schema` that the table is too old to have are null.

        Raises InputError where there is no such commit, StoreError where its files are gone or damaged.
        """
        table, in_table = self._table, {field.name for field in self._table.schema().fields}
        wanted = list(dict.fromkeys([*columns, *where]))
        # Only whole files are left out here: Arrow cannot compare the string views that Delta writes.
        partitions = [(name, "=", value) for name, value in where.items() if name in table.metadata().partition_columns]
        try:
            found = table.to_pyarrow_table(
                columns=[name for name in wanted if name in in_table], filters=partitions or None
            )
        except (DeltaError, OSError, pa.ArrowException) as error:
            is_old = self.version < current_version(self.uri)
            raise (gone if is_old else unreadable)(self.uri, error) from error
        for name in wanted:
            if name not in in_table:
                found = found.append_column(name, pa.nulls(found.num_rows, self.schema.field(name).type))
        frame = pl.DataFrame(pl.from_arrow(found))
        return frame.filter(*(pl.col(name).cast(pl.String) == value for name, value in where.items())).select(columns)

    @cached_property
    def _table(self) -> DeltaTable:
        return open_table(self.uri, self.version)


def merge_clips(uri: str, rows: pa.Table, note: str) -> None:
    """Insert the rows of `clips`, replacing those of the same dataset and uri."""
    _require_distinct(rows, ("dataset", "uri"))

    def merge(table: DeltaTable, commit: CommitProperties) -> None:
        missing = {field.name for field in rows.schema} - {field.name for field in table.schema().fields}
        _merger(
            table, rows, ("dataset", "uri"), commit, merge_schema=bool(missing)
        ).when_matched_update_all().when_not_matched_insert_all().execute()

    if rows.num_rows:
        commit_change(uri, note, merge)


def merge_extractions(uri: str, rows: pa.Table, note: str) -> None:
    """Insert the rows of `extractions`, all of one stream and fingerprint, each attempt counted.

    A row that is `ok` is never replaced: where two runs computed the same clip, the first commit wins and the other's
    frames stay unreferenced. A `failed` one is replaced by a later try, its attempts added up.
    """
    _require_distinct(rows, ("clip_id", "stream", "fingerprint"))
    update = {name: f"new.{name}" for name in rows.schema.names} | {"attempts": "old.attempts + new.attempts"}

    def merge(table: DeltaTable, commit: CommitProperties) -> None:
        _merger(table, rows, ("clip_id",), commit, _of_stream(rows)).when_matched_update(
            updates=update, predicate=_REPLACES
        ).when_not_matched_insert_all().execute()

    if rows.num_rows:
        commit_change(uri, note, merge)


def move_extractions(uri: str, rows: pa.Table, note: str) -> None:
    """Have rows of one stream name another part, which holds the same frames; the others stay as they are.

    `rows` has the columns clip_id, stream and fingerprint (the last two constant), part_id, first_row and moved_from:
    a row that no longer names the part `moved_from` was written anew meanwhile, and is left alone.
    """

    def merge(table: DeltaTable, commit: CommitProperties) -> None:
        _merger(table, rows, ("clip_id",), commit, _of_stream(rows)).when_matched_update(
            updates={"part_id": "new.part_id", "first_row": "new.first_row"}, predicate="old.part_id = new.moved_from"
        ).execute()

    if rows.num_rows:
        commit_change(uri, note, merge)


def delete_extractions(uri: str, rows: pa.Table, note: str) -> None:
    """Delete rows by clip_id; `rows` has the columns clip_id, stream and fingerprint, the last two constant."""

    def merge(table: DeltaTable, commit: CommitProperties) -> None:
        _merger(table, rows, ("clip_id",), commit, _of_stream(rows)).when_matched_delete().execute()

    if rows.num_rows:
        commit_change(uri, note, merge)


def delete_clips(uri: str, rows: pa.Table, note: str) -> None:
    """Delete the rows of `clips` with the dataset and uri of `rows`."""

    def merge(table: DeltaTable, commit: CommitProperties) -> None:
        _merger(table, rows, ("dataset", "uri"), commit).when_matched_delete().execute()

    if rows.num_rows:
        commit_change(uri, note, merge)


def history(uri: str, limit: int) -> list[Commit]:
    """The newest `limit` commits, oldest first. Raises StoreError where the log cannot be read."""
    try:
        entries = open_table(uri).history(limit)
    except (DeltaError, OSError) as error:
        raise unreadable(uri, error) from error
    return [
        Commit(entry["version"], datetime.fromtimestamp(entry["timestamp"] / 1000, UTC), str(entry.get(NOTE, "")))
        for entry in reversed(entries)
    ]


def _merger(
    table: DeltaTable,
    rows: pa.Table,
    key: Iterable[str],
    commit: CommitProperties,
    also: str = "",
    *,
    merge_schema: bool = False,
) -> Any:
    return table.merge(
        rows,
        predicate=" AND ".join([*(f"old.{name} = new.{name}" for name in key), *filter(None, [also])]),
        source_alias="new",
        target_alias="old",
        commit_properties=commit,
        merge_schema=merge_schema,
    )


def _of_stream(rows: pa.Table) -> str:
    """The stream as literals, so that Delta reads the files of that stream only; both are checked names."""
    stream, fingerprint = rows["stream"][0].as_py(), rows["fingerprint"][0].as_py()
    return f"old.stream = '{stream}' AND old.fingerprint = '{fingerprint}'"


def _require_distinct(rows: pa.Table, key: Sequence[str]) -> None:
    if rows.group_by(list(key)).aggregate([]).num_rows < rows.num_rows:
        raise ContractError(f"two rows of one commit have the same {', '.join(key)}")
