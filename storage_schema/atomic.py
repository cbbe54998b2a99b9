"""Writing so that a crash leaves either nothing or the whole: a temporary sibling, fsync, rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from uuid import uuid4


def write_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what is there, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    Everything in it is flushed to the disk before the rename. Raises FileExistsError where `path` already exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            raise FileExistsError(f"{path} exists already, and is written only once")
        for folder, _, files in os.walk(temporary, topdown=False):
            for name in files:
                _fsync(Path(folder, name))
            fsync_folder(Path(folder))
        temporary.rename(path)
    except BaseException:
        rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(path: Path) -> None:
    """Flush a folder's list of names, which a rename inside it has changed."""
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
