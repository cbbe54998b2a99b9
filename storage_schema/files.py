"""The ground a store stands on: a local folder or an S3 bucket, as a handful of operations on keys.

A key is a path below the store's root with forward slashes. Nothing here knows what the keys mean; what it alone knows
is how to make a write durable and whole: on a disk by fsync and rename, in a bucket by writing a folder's marker last.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from storage_schema.atomic import fsync_tree, make_folder, place_folder, write_file
from storage_schema.regular import read_regular

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

    from storage_schema.bucket import Bucket

SCRATCH = ".scratch"
"""Where a local store keeps what is being written; whatever a killed process left there is garbage."""


@dataclass(frozen=True)
class Entry:
    """One thing in a folder. `modified_at` is None for a folder of a bucket, which has no time of its own."""

    name: str
    is_folder: bool
    modified_at: datetime | None


class Files(Protocol):
    """What a store needs of its ground. Everything raises OSError (FileNotFoundError, PermissionError, ...)."""

    @property
    def uri(self) -> str:
        """How the root is named to people."""
        ...

    def read(self, key: str) -> bytes:
        """The whole of one file."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Put `content` there, replacing what is there, durable and whole or not at all."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        ...

    def entries(self, key: str) -> list[Entry]:
        """What lies directly in a folder, by name; nothing where there is no such folder."""
        ...

    def n_bytes(self, key: str) -> int:
        """The size of everything below a folder."""
        ...

    def remove(self, key: str) -> None:
        """Delete a file or a whole folder; what is not there is no error."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty local folder to build something in, gone at the end of the block unless it was placed."""
        ...

    def place(self, folder: Path, key: str, *, marker: str) -> None:
        """Make a scratch folder the folder `key`, durable and whole; `marker` is the file whose presence says so.

        Raises FileExistsError where the folder is there already.
        """
        ...

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """A folder as a local path to read from: itself on a disk, a download elsewhere."""
        ...

    def table_uri(self, key: str) -> str:
        """What Delta calls the table at `key`."""
        ...

    def zarr_store(self, key: str) -> "ZarrStore":
        """The folder as a store that Zarr reads; what it raises is an OSError only within `in_our_words`."""
        ...

    def in_our_words(self, key: str) -> AbstractContextManager[None]:
        """Have what a library meets below `key` raised as the OSError it is."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """A folder on a disk of this machine, or one that is mounted like one."""

    root: Path

    @property
    def uri(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        return self.root / key

    def read(self, key: str) -> bytes:
        return read_regular(self.path(key))

    def write(self, key: str, content: bytes) -> None:
        make_folder(self.path(key).parent)
        write_file(self.path(key), content)

    def exists(self, key: str) -> bool:
        return self.path(key).exists()

    def entries(self, key: str) -> list[Entry]:
        entries = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path(key)) as found:
            for one in found:
                with suppress(FileNotFoundError):  # removed since it was listed
                    modified_at = datetime.fromtimestamp(one.stat(follow_symlinks=False).st_mtime, UTC)
                    entries.append(Entry(one.name, one.is_dir(), modified_at))
        return sorted(entries, key=lambda entry: entry.name)

    def n_bytes(self, key: str) -> int:
        return sum(path.lstat().st_size for path in self.path(key).rglob("*") if path.is_file())

    def remove(self, key: str) -> None:
        path = self.path(key)
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        # Renamed first, so that no reader ever sees a folder with half of its files.
        doomed = self.path(SCRATCH) / uuid4().hex
        doomed.parent.mkdir(exist_ok=True)
        path.rename(doomed)
        rmtree(doomed)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        folder = self.path(SCRATCH) / uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)

    def place(self, folder: Path, key: str, *, marker: str) -> None:
        assert (folder / marker).exists(), f"a whole folder has its {marker}"
        fsync_tree(folder)
        place_folder(folder, self.path(key))

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        yield self.path(key)

    def table_uri(self, key: str) -> str:
        return str(self.path(key))

    def zarr_store(self, key: str) -> "ZarrStore":
        from zarr.storage import LocalStore

        return LocalStore(self.path(key), read_only=True)

    def in_our_words(self, key: str) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True)
class BucketFiles:
    """A prefix of an S3 bucket. An object appears whole or not at all, and stays once it was acknowledged."""

    bucket: "Bucket"

    @property
    def uri(self) -> str:
        return self.bucket.uri

    def read(self, key: str) -> bytes:
        return self.bucket.read(key)

    def write(self, key: str, content: bytes) -> None:
        self.bucket.put(key, content)

    def exists(self, key: str) -> bool:
        try:
            self.bucket.head(key)
        except FileNotFoundError:
            return False
        return True

    def entries(self, key: str) -> list[Entry]:
        folders, objects = self.bucket.children(key)
        found = [Entry(name.rpartition("/")[2], True, None) for name in folders]
        found += [Entry(one.key.rpartition("/")[2], False, one.modified_at) for one in objects]
        return sorted(found, key=lambda entry: entry.name)

    def n_bytes(self, key: str) -> int:
        return sum(entry.n_bytes for entry in self.bucket.list(f"{key}/"))

    def remove(self, key: str) -> None:
        below = [entry.key for entry in self.bucket.list(f"{key}/")]
        folders = {str(path) for name in below for path in PurePosixPath(name).parents if path.is_relative_to(key)}
        # Some servers keep folders that are empty, and list them still; they go like objects, the deepest first.
        self.bucket.remove([*below, *sorted(folders, key=len, reverse=True)] or [key])

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with TemporaryDirectory(prefix="timbrel-") as folder:
            yield Path(folder)

    def place(self, folder: Path, key: str, *, marker: str) -> None:
        if self.exists(f"{key}/{marker}"):
            raise FileExistsError(f"{self.uri}/{key} exists already, and is written only once")
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert marker in files, f"a whole folder has its {marker}"
        for name in sorted(files, key=lambda name: name == marker):  # the marker last
            self.bucket.put(f"{key}/{name}", folder / name)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        with TemporaryDirectory(prefix="timbrel-") as temporary:
            for entry in self.bucket.list(f"{key}/"):
                path = Path(temporary, entry.key.removeprefix(f"{key}/"))
                if not path.resolve().is_relative_to(Path(temporary).resolve()):
                    raise PermissionError(f"the object {entry.key!r} of {self.uri} would be written outside its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.bucket.read(entry.key))
            yield Path(temporary)

    def table_uri(self, key: str) -> str:
        return f"{self.uri}/{key}"

    def zarr_store(self, key: str) -> "ZarrStore":
        from zarr.storage import ObjectStore

        from storage_schema.bucket import Bucket

        return ObjectStore(Bucket(f"{self.uri}/{key}").store, read_only=True)

    def in_our_words(self, key: str) -> AbstractContextManager[None]:
        return self.bucket.in_our_words(key)
