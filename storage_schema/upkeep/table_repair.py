"""Tables that can be read again: torn commits, unreadable checkpoints, a table that is gone or has lost its files.

`extractions` says nothing that the parts do not say, but for the clips that failed, and so it is made anew; `clips` is
the list of recordings, whose sources are elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage_schema import catalogue
from storage_schema.errors import StoreError
from storage_schema.files import Files
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.tables import CLIPS, EXTRACTIONS, PARTITION_BY
from storage_schema.upkeep import table_files
from storage_schema.upkeep.delta_log import blank_commit, broken_commits, drop_checkpoints
from storage_schema.upkeep.inspection import table_problem

REMAKE_CLIPS = (
    f"restore {CLIPS_KEY}/ from a backup; without one, delete that folder, `timbrel repair`, then ingest again: "
    "features are kept"
)
"""What a person must do about a list of recordings that is lost."""


@dataclass(frozen=True)
class Step:
    """One thing that was done, or would be: where, and what. Where `is_mended` is False, `what` says what you must."""

    where: str
    what: str
    is_mended: bool = True


def mend_log(files: Files, table: str, *, dry_run: bool) -> Iterator[Step]:
    """Put commits that change nothing where that is what a broken one does."""
    for commit in broken_commits(files, table):
        what = f"commit {commit.version} {commit.what}"
        if not commit.is_mendable:
            what += "; older snapshots cannot be read before it is restored from a backup"
            yield Step(f"{table}/_delta_log", what, is_mended=False)
            continue
        what += "; what it changed is lost"
        if not dry_run:
            blank_commit(files, table, commit.version, what)
        yield Step(f"{table}/_delta_log", what + ("; ingest again" if table == CLIPS_KEY else ""))


def mend_clips(files: Files, *, dry_run: bool) -> Iterator[Step]:
    """Make a table of clips that is gone, empty; one that is there is never thrown away."""
    if not files.entries(CLIPS_KEY):
        if not dry_run:
            catalogue.create_table(files.table_uri(CLIPS_KEY), CLIPS)
        yield Step(CLIPS_KEY, "an empty table in place of the one that is gone; ingest again: features are kept")
        return
    problem = table_problem(files, CLIPS_KEY)
    if problem is not None and not dry_run:
        drop_checkpoints(files, CLIPS_KEY)
        still = table_problem(files, CLIPS_KEY)
        if still is None:
            yield Step(CLIPS_KEY, f"{problem}; its checkpoint is dropped, the log has it all")
        problem = still
    if problem is not None:
        yield Step(CLIPS_KEY, f"{problem}; {REMAKE_CLIPS}", is_mended=False)


def mend_extractions(files: Files, *, dry_run: bool) -> Iterator[Step]:
    """Leave a table of extractions that can be read, if need be without a row."""
    problem = table_problem(files, EXTRACTIONS_KEY)
    if problem is None:
        return
    what = f"{problem}; made anew from the parts, without the clips that had failed: they will be tried again"
    if not dry_run:
        drop_checkpoints(files, EXTRACTIONS_KEY)
        if table_problem(files, EXTRACTIONS_KEY) is None:
            what = f"{problem}; its checkpoint is dropped, the log has it all"
        elif not _clear(files):
            files.remove(EXTRACTIONS_KEY)
            catalogue.create_table(files.table_uri(EXTRACTIONS_KEY), EXTRACTIONS, PARTITION_BY)
            what += "; snapshots and runs from before name states that are gone"
    yield Step(EXTRACTIONS_KEY, what)


def _clear(files: Files) -> bool:
    """Whether all rows could be taken out by one more commit, so that the history stays."""
    try:
        table_files.clear_table(
            files.table_uri(EXTRACTIONS_KEY), EXTRACTIONS, "made anew from the parts: it could not be read"
        )
    except StoreError:
        return False
    return table_problem(files, EXTRACTIONS_KEY) is None
