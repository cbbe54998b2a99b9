"""The two Delta tables: create, merge, read at a version. The only module that imports deltalake.

Delta's log gives each commit a number and detects conflicts; a commit that lost the race is tried again here. A merge
is keyed, so that committing the same rows twice changes nothing.
"""

import random
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from storage_schema.errors import ConflictError, ContractError, InputError, StoreError

_MAX_TRIES = 20
"""Three writers with overlapping keys needed at most a handful; twenty with back-off last about ten seconds."""


_REPLACES = "old.status = 'failed' AND new.finished_at > old.finished_at"
"""Strictly later, so that committing one receipt twice counts its try once."""


def create_table(path: Path, schema: pa.Schema) -> None:
    """An empty table at `path`; one that is already there is left alone."""
    DeltaTable.create(str(path), schema=schema, mode="ignore")


def current_version(path: Path) -> int:
    """The number of the newest commit."""
    return _open(path).version()


def read_table(path: Path, version: int, columns: list[str] | None = None) -> pl.DataFrame:
    """All rows as they were after commit `version`. Raises StoreError where their files are gone or damaged."""
    table = _open(path, version)
    try:
        arrow = table.to_pyarrow_table(columns=columns)
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return pl.DataFrame(pl.from_arrow(arrow))


def merge_clips(path: Path, rows: pa.Table) -> None:
    """Insert the rows of `clips`, replacing those of the same dataset and uri."""
    _merge(path, rows, key=("dataset", "uri"), update=None, replace=None)


def merge_extractions(path: Path, rows: pa.Table) -> None:
    """Insert the rows of `extractions`, each attempt counted.

    A row that is `ok` is never replaced: where two runs computed the same clip, the first commit wins and the other's
    frames stay unreferenced. A `failed` one is replaced by a later try, its attempts added up.
    """
    update = {name: f"new.{name}" for name in rows.schema.names} | {"attempts": "old.attempts + new.attempts"}
    _merge(path, rows, key=("clip_id", "stream", "fingerprint"), update=update, replace=_REPLACES)


def _merge(
    path: Path, rows: pa.Table, *, key: tuple[str, ...], update: dict[str, str] | None, replace: str | None
) -> None:
    if rows.num_rows == 0:
        return
    if rows.group_by(list(key)).aggregate([]).num_rows < rows.num_rows:
        raise ContractError(f"{path.name}: two rows of one commit have the same {', '.join(key)}")
    on = " AND ".join(f"old.{name} = new.{name}" for name in key)
    for attempt in range(_MAX_TRIES):
        merger = _open(path).merge(rows, predicate=on, source_alias="new", target_alias="old")
        if update is None:
            merger = merger.when_matched_update_all(predicate=replace)
        else:
            merger = merger.when_matched_update(updates=update, predicate=replace)
        try:
            merger.when_not_matched_insert_all().execute()
        except CommitFailedError:
            time.sleep(random.uniform(0.0, 0.05 * (attempt + 1)))
        except (DeltaError, OSError) as error:
            raise StoreError(
                f"the table {path.name} at {path.parent} cannot be written: {error}; make room or mend the rights, and "
                "run the same command again"
            ) from error
        else:
            return
    raise ConflictError(f"{path.name}: other writers committed first {_MAX_TRIES} times in a row; try again")


def _open(path: Path, version: int | None = None) -> DeltaTable:
    try:
        return DeltaTable(str(path), version=version)
    except TableNotFoundError as error:
        raise StoreError(f"the table {path.name} is missing from the store at {path.parent}") from error
    except (DeltaError, OverflowError) as error:
        if version is None:
            raise _unreadable(path, error) from error
        raise InputError(f"the table {path.name} has no commit {version}; `timbrel status` names the newest") from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    first_line = str(error).partition("\n")[0]  # below it, delta-rs may print the stack of its own threads
    return StoreError(f"the table {path.name} at {path.parent} cannot be read: {first_line}; restore it from a backup")
