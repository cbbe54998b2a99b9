"""What happened to a store, as the snapshots it went through.

Two tables have a history each; a snapshot is a moment of both. What it alone knows is how to lay them side by side.
"""

from dataclasses import dataclass
from datetime import datetime

from storage_schema import catalogue
from storage_schema.layout import CLIPS, EXTRACTIONS
from storage_schema.store import Store


@dataclass(frozen=True)
class Moment:
    """A snapshot, when it came to be, and what was done."""

    snapshot_id: str
    at: datetime
    what: str


def list_snapshots(store: Store, limit: int = 20) -> list[Moment]:
    """The newest `limit` snapshots, oldest first. Raises StoreError where the history cannot be read."""
    # One commit more of each than is shown: it tells the version that the other table's first commits met.
    clips = catalogue.history(store.files.table_uri(CLIPS), limit + 1)
    extractions = catalogue.history(store.files.table_uri(EXTRACTIONS), limit + 1)
    versions = {"clips": clips[0].version, "extractions": extractions[0].version}
    commits = [("clips", commit) for commit in clips[1:]] + [("extractions", commit) for commit in extractions[1:]]
    moments = []
    for table, commit in sorted(commits, key=lambda pair: pair[1].at):
        versions[table] = commit.version
        moments.append(Moment(f"{versions['clips']}-{versions['extractions']}", commit.at, commit.note))
    return moments[-limit:]
