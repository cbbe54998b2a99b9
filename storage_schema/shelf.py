"""Where long work puts down what it has done so far, so that another process can take it up again.

Below the store's scratch: nobody counts on what lies there, `timbrel gc` removes what has not been touched for its
grace, and the work itself removes it at its end. Each file is written whole or not at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage_schema.errors import StoreError
from storage_schema.files import SCRATCH, Files
from storage_schema.layout import checked_name, is_name

SUFFIX = ".unfinished"


@dataclass(frozen=True)
class Shelf:
    """The files of one piece of work, by their names."""

    files: Files
    name: str

    def write(self, name: str, content: bytes) -> None:
        """Put `content` under `name`. Raises StoreError where the disk does not take it."""
        try:
            self.files.write(self._key(name), content)
        except OSError as error:
            raise StoreError(
                f"{name} of the unfinished {self.name} cannot be written at {self.files.uri}: "
                f"{error.strerror or error}; make room, and continue with --resume"
            ) from error

    def read(self, name: str) -> bytes | None:
        """What was put under `name`; None where there is nothing. Raises StoreError where it cannot be read."""
        try:
            return self.files.read(self._key(name)) if self.files.exists(self._key(name)) else None
        except OSError as error:
            raise StoreError(
                f"{name} of the unfinished {self.name} cannot be read at {self.files.uri}: {error.strerror or error}"
            ) from error

    def remove(self, name: str | None = None) -> None:
        """Take away one file, or everything; nothing there is nothing to do."""
        self.files.remove(self._folder if name is None else self._key(name))

    @property
    def _folder(self) -> str:
        return f"{SCRATCH}/{checked_name(self.name, 'run')}{SUFFIX}"

    def _key(self, name: str) -> str:
        return f"{self._folder}/{checked_name(name, 'file')}"


def shelves(files: Files) -> Iterator[Shelf]:
    """All there are in a store, by name."""
    for entry in files.entries(SCRATCH):
        name = entry.name.removesuffix(SUFFIX)
        if entry.name.endswith(SUFFIX) and is_name(name):
            yield Shelf(files, name)
