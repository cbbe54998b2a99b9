"""The files of a Delta table rather than its rows: fewer and larger ones, no old ones, none at all."""

from collections.abc import Sequence

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from storage_schema.delta import commit_change, open_table, unreadable


def clear_table(uri: str, schema: pa.Schema, note: str) -> None:
    """Take all rows out of a table by one more commit; only its log has to be readable."""
    nothing = schema.empty_table()
    commit_change(
        uri, note, lambda table, commit: write_deltalake(table, nothing, mode="overwrite", commit_properties=commit)
    )


def compact_table(uri: str, note: str) -> tuple[int, int]:
    """Put small files of a table together, and its log into a checkpoint; how many files it had and has.

    Raises ConflictError where other writers were always faster.
    """
    before = len(open_table(uri).file_uris())
    commit_change(uri, note, lambda table, commit: table.optimize.compact(commit_properties=commit))
    table = open_table(uri)
    table.create_checkpoint()
    return before, len(table.file_uris())


def vacuum_table(
    uri: str, retention_hours: int, keep_versions: Sequence[int], note: str, *, dry_run: bool
) -> list[str]:
    """Delete the files that no commit of the last `retention_hours` and none of `keep_versions` reads.

    Returns their paths below the table. What no commit names goes too once it is as old: a killed writer left it.
    """
    gone: list[str] = []

    def vacuum(table: DeltaTable, commit: CommitProperties) -> None:
        gone[:] = table.vacuum(
            retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            keep_versions=list(keep_versions) or None,
            commit_properties=commit,
        )

    try:
        if dry_run:
            vacuum(open_table(uri), CommitProperties())
        else:
            commit_change(uri, note, vacuum)
    except (DeltaError, OSError) as error:
        raise unreadable(uri, error) from error
    return gone
