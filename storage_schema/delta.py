"""A Delta table, opened and committed to. With `catalogue` and `table_files` all that imports deltalake.

Delta's log gives each commit a number and detects conflicts; a commit that lost the race is tried again here. A table
on a local disk is flushed after each commit: what a caller was told is written survives a power cut.
"""

import errno
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from storage_schema.atomic import fsync
from storage_schema.bucket import is_plain_http
from storage_schema.errors import ConflictError, InputError, StoreError

NOTE = "timbrel"
"""The name in Delta's commit metadata under which a commit says what it was for."""

_LAYERS = re.compile(r"^(?:Failed to parse parquet: |External: |Generic \w+ error: )+")
"""What the libraries below put before the reason, each its own words."""

_CAUSE = re.compile(r"\s*\n\s*(?:\x1b\[\d+m)*↳(?:\x1b\[0m)*\s*")
"""How a chain of causes may be drawn: each on a line of its own, behind an arrow that may be coloured."""

_MAX_TRIES = 30
"""Three writers with overlapping keys needed at most a handful; thirty with back-off last about twenty seconds."""


def open_table(uri: str, version: int | None = None) -> DeltaTable:
    """The table at its newest commit, or at `version`; InputError where there is none such, StoreError on damage."""
    try:
        return DeltaTable(uri, version=version, storage_options=storage_options(uri))
    except TableNotFoundError as error:
        raise StoreError(
            f"the table {_name(uri)} is missing from the store at {_parent(uri)}; `timbrel repair` rebuilds extractions"
        ) from error
    except (DeltaError, OverflowError, OSError) as error:
        if version is None:
            raise unreadable(uri, error) from error
        open_table(uri)  # where not even the newest commit can be read, it is not the number that is wrong
        raise InputError(
            f"the table {_name(uri)} has no commit {version}; `timbrel snapshots` lists what there is"
        ) from error


def commit_change(uri: str, note: str, change: Callable[[DeltaTable, CommitProperties], object]) -> None:
    """Apply `change` to the newest state, again and again while others commit first."""
    for attempt in range(_MAX_TRIES):
        table = open_table(uri)
        try:
            change(table, CommitProperties(custom_metadata={NOTE: note}))
            _flush(table, uri)
        except CommitFailedError:
            time.sleep(random.uniform(0.0, 0.05 * (attempt + 1)))
        except (DeltaError, OSError) as error:
            raise StoreError(
                f"the table {_name(uri)} at {_parent(uri)} cannot be written: "
                f"{_refusal(error, uri) or _first_line(error)}; make room or mend the rights, and run the same "
                "command again"
            ) from error
        else:
            return
    raise ConflictError(f"{_name(uri)}: other writers committed first {_MAX_TRIES} times in a row; try again")


def storage_options(uri: str) -> dict[str, str] | None:
    """How patient to be with a server; credentials come from the environment and are never named here."""
    if "://" not in uri:
        return None
    patience = {"connect_timeout": "5s", "timeout": "60s", "max_retries": "3", "retry_timeout": "15s"}
    return patience | ({"aws_allow_http": "true"} if is_plain_http() else {})


def unreadable(uri: str, error: Exception) -> StoreError:
    """What to raise for a table whose files are gone or damaged."""
    reason = _refusal(error, uri) or f"{_first_line(error)}; `timbrel verify` says more"
    return StoreError(f"the table {_name(uri)} at {_parent(uri)} cannot be read: {reason}")


def _refusal(error: Exception, uri: str) -> str | None:
    """Why a server was not to be spoken to, where that is what happened."""
    if "://" not in uri:
        return None
    from storage_schema.bucket import as_os_error

    translated = as_os_error(error, uri)
    return translated.strerror if translated.errno in (errno.EACCES, errno.EPERM, errno.EHOSTUNREACH) else None


def _first_line(error: Exception) -> str:
    """What went wrong, without the names of the libraries it came through, nor the stack that may stand below it."""
    return _LAYERS.sub("", _CAUSE.sub(": ", str(error)).partition("\n")[0])


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _parent(uri: str) -> str:
    return uri.rpartition("/")[0]


def gone(uri: str, error: Exception) -> StoreError:
    """What to raise for an older commit whose files are gone, as gc leaves it, or damaged."""
    if _refusal(error, uri):
        return unreadable(uri, error)
    return StoreError(
        f"the table {_name(uri)} at {_parent(uri)} can no longer be read as it was: {_first_line(error)}; `timbrel gc` "
        "deletes what is older than its grace, and `timbrel snapshots` lists newer states"
    )


def _flush(table: DeltaTable, uri: str) -> None:
    """Have the newest commit and the files it names on the disk; an object store has them before it answers."""
    if "://" in uri:
        return
    log = Path(uri, "_delta_log", f"{table.version():020}.json")
    folders = {log.parent, Path(uri)}
    for line in log.read_text(encoding="utf-8").splitlines():
        added = json.loads(line).get("add")
        if added:
            path = Path(uri, added["path"])
            if path.exists():  # not compacted away meanwhile
                fsync(path)
            folders.update(parent for parent in path.parents if parent.is_relative_to(uri))
    fsync(log)
    for folder in folders:
        fsync(folder)
