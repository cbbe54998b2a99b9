"""The log of a Delta table as plain files: whether each commit is whole, and what can be done where one is not.

Delta reads past a commit of no bytes as if it had changed nothing, and refuses a torn one or a gap. So an empty commit,
and a torn one that nothing was built on, can be written over by one that says that it changes nothing. What it alone
knows is how that log lies on the ground.
"""

import json
import re
import time
from dataclasses import dataclass

from storage_schema.files import Files

_COMMIT = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True)
class BrokenCommit:
    """A commit that cannot be read as it was written. `is_mendable`: saying that it changed nothing would be true."""

    version: int
    what: str
    is_mendable: bool


def broken_commits(files: Files, table: str) -> list[BrokenCommit]:
    """What is wrong in the log of the table at the key `table`, oldest first."""
    found = [_COMMIT.fullmatch(entry.name) for entry in files.entries(_log(table))]
    versions = sorted(int(name[1]) for name in found if name)
    if not versions:
        return []
    broken = [BrokenCommit(version, "is missing", False) for version in {*range(versions[-1])} - {*versions}]
    for version in versions:
        what = _what_is_wrong(files.read(_commit_key(table, version)))
        if what is not None:
            is_mendable = version > 0 and (version == versions[-1] or what == "is empty")
            broken.append(BrokenCommit(version, what, is_mendable))
    return sorted(broken, key=lambda commit: commit.version)


def blank_commit(files: Files, table: str, version: int, note: str) -> None:
    """Write over a broken commit one that changes nothing; `note` is what the history says of it."""
    info = {"commitInfo": {"timestamp": int(time.time() * 1000), "operation": "REPAIR", "timbrel": note}}
    files.write(_commit_key(table, version), json.dumps(info).encode() + b"\n")


def drop_checkpoints(files: Files, table: str) -> None:
    """Delete what only saves reading the whole log; it is all there from its beginning, or nothing is dropped."""
    if not files.exists(_commit_key(table, 0)) or broken_commits(files, table):
        return
    for entry in files.entries(_log(table)):
        if entry.name == "_last_checkpoint" or ".checkpoint." in entry.name:
            files.remove(f"{_log(table)}/{entry.name}")


def _what_is_wrong(content: bytes) -> str | None:
    if not content.strip():
        return "is empty"
    try:
        lines = [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return "is torn"
    return None if all(isinstance(line, dict) for line in lines) else "is torn"


def _log(table: str) -> str:
    return f"{table}/_delta_log"


def _commit_key(table: str, version: int) -> str:
    return f"{_log(table)}/{version:020}.json"
