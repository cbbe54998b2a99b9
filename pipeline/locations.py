"""Where audio and its metadata lie: a local path, or `s3://bucket/key`. The only module that knows there are two kinds.

An object is opened by way of an unlinked temporary file, so that a decoder gets the descriptor of a real file either
way; its room is given back when it is closed, however the process ends. What goes wrong is an OSError either way.
"""

import errno
import io
import os
import stat as modes
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from storage_schema.bucket import SCHEME, Bucket
from storage_schema.errors import InputError

Location: TypeAlias = str | Path
"""A file, or a root that files lie below. A uri is text: a Path would merge the two slashes of `s3://`."""

Stat: TypeAlias = tuple[int, int]
"""Size in bytes, and the time of the last change in nanoseconds since 1970 (on S3 in whole seconds)."""


def is_on_s3(location: Location) -> bool:
    """Whether it names an object or a prefix of a bucket rather than a local path."""
    return str(location).startswith(SCHEME)


def join(root: Location, uri: str) -> str:
    """Where the file named `uri`, a relative path with forward slashes, lies below `root`."""
    return f"{str(root).rstrip('/')}/{uri}" if is_on_s3(root) else str(Path(root, uri))


def folder_of(root: Location) -> str:
    """The absolute folder whose files `root` lists: itself, or the one it lies in where it is a file."""
    folder = str(root).rstrip("/") if is_on_s3(root) else str(Path(root).absolute())
    return folder if is_folder(root) else folder.rpartition("/")[0] or "/"


def is_folder(location: Location) -> bool:
    """Whether there is such a folder; on S3, whether anything lies below it. Raises OSError where nobody can tell."""
    if is_on_s3(location):
        return any(True for _ in Bucket(str(location)).list())
    return Path(location).is_dir()


def stat(location: Location) -> Stat:
    """Size and time of one file. Raises OSError."""
    if not is_on_s3(location):
        status = Path(location).stat()
        return status.st_size, status.st_mtime_ns
    bucket, key = _object(location)
    return _stat(*bucket.head(key))


def stats_below(root: Location) -> Callable[[str], Stat]:
    """A function from the uri of a file below `root` to its `stat`; on S3 one listing answers for all of them."""
    if not is_on_s3(root):
        return lambda uri: stat(join(root, uri))
    found = {entry.key: _stat(entry.n_bytes, entry.modified_at) for entry in Bucket(str(root)).list()}

    def look_up(uri: str) -> Stat:
        if uri not in found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), join(root, uri))
        return found[uri]

    return look_up


def names_below(root: Location) -> Iterator[str]:
    """The relative name of everything below `root`, folders too, without what is hidden; links are not followed.

    Bytes of a local name that are no UTF-8 are surrogate escapes. Raises OSError where a folder cannot be listed.
    """
    if is_on_s3(root):
        keys = (entry.key for entry in Bucket(str(root)).list())
        yield from (key for key in keys if not any(part.startswith(".") for part in key.split("/")))
        return

    def refuse(error: OSError) -> None:
        raise error

    for folder, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in (*files, *subfolders):
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


@contextmanager
def open_file(location: Location) -> Iterator[io.FileIO]:
    """The open file, unbuffered and at its start; what is no regular file is not opened at all.

    Raises OSError, and InputError where no object could be read, because of the connection or for want of scratch room:
    a run had better stop there than call every recording unreadable.
    """
    if is_on_s3(location):
        bucket, key = _object(location)
        with tempfile.TemporaryFile() as copy:
            with _blaming_no_file(location):
                copy.writelines(bucket.stream(key))
                copy.seek(0)
            yield io.FileIO(copy.fileno(), closefd=False)
        return
    mode = Path(location).stat().st_mode  # before opening: to open a pipe waits for a writer
    if not modes.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {_describe(mode)}, which is no regular file", str(location))
    with Path(location).open("rb", buffering=0) as file:
        yield file


@contextmanager
def _blaming_no_file(location: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EHOSTUNREACH, errno.EPERM):
            raise InputError(
                f"{location} cannot be asked for: {error.strerror}. No file is at fault: mend it, and run the same "
                "command again"
            ) from error
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"there is no room for a copy of {location} in {tempfile.gettempdir()}; make some, or set TMPDIR to a "
                "larger disk"
            ) from error
        raise


def _object(location: Location) -> tuple[Bucket, str]:
    name, _, key = str(location).removeprefix(SCHEME).partition("/")
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return _bucket(f"{SCHEME}{name}", environment), key


@lru_cache(maxsize=8)
def _bucket(uri: str, _environment: tuple[tuple[str, str], ...]) -> Bucket:
    """Kept, because a new one makes a new connection; for as long as the environment says the same of it."""
    return Bucket(uri)


def _stat(n_bytes: int, modified_at: datetime) -> Stat:
    return n_bytes, int(modified_at.timestamp()) * 10**9


def _describe(mode: int) -> str:
    kinds = {
        modes.S_IFDIR: "a folder",
        modes.S_IFIFO: "a pipe",
        modes.S_IFSOCK: "a socket",
        modes.S_IFCHR: "a device",
        modes.S_IFBLK: "a device",
    }
    return kinds.get(modes.S_IFMT(mode), "something special")
