"""The only module that knows the paths inside a store.

    <store>/timbrel.json                          schema version, creation time
    <store>/clips/, <store>/extractions/          Delta tables
    <store>/streams/<stream>/<fingerprint>/       spec.json, parts/<part_id>.zarr/
    <store>/runs/<run_id>/                        a training run

Every name that comes from outside is checked before it becomes part of a path, so that none leads out of the store.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from storage_schema.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Layout:
    """Where everything lies below `root`."""

    root: Path

    @property
    def marker(self) -> Path:
        """The file that makes a folder a store; it is written last."""
        return self.root / "timbrel.json"

    @property
    def clips(self) -> Path:
        return self.root / "clips"

    @property
    def extractions(self) -> Path:
        return self.root / "extractions"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, run_id: str) -> Path:
        return self.runs / checked_name(run_id, "run")

    def stream(self, stream: str, fingerprint: str) -> Path:
        return self.root / "streams" / checked_name(stream, "stream") / checked_name(fingerprint, "fingerprint")

    def spec(self, stream: str, fingerprint: str) -> Path:
        return self.stream(stream, fingerprint) / "spec.json"

    def part(self, stream: str, fingerprint: str, part_id: str) -> Path:
        return self.stream(stream, fingerprint) / "parts" / f"{checked_name(part_id, 'part')}.zarr"


def checked_name(name: str, what: str) -> str:
    """`name` unchanged, or InputError where it could not safely be a file name."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a {what}: use letters, digits, dot, dash and underscore, at most 128"
        )
    return name
