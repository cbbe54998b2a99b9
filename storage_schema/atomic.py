"""Writing so that a crash leaves either nothing or the whole: a temporary sibling, fsync, rename."""

import errno
import os
from pathlib import Path
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
    fsync(path.parent)


def place_folder(folder: Path, path: Path) -> None:
    """Rename `folder`, which is on the same disk and already flushed, to `path`, and flush the name.

    Raises FileExistsError where `path` is already there.
    """
    make_folder(path.parent)
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise FileExistsError(f"{path} exists already, and is written only once") from error
        raise
    fsync(path.parent)


def make_folder(path: Path) -> None:
    """Make `path` and what lacks above it, each name flushed: a folder lost in a power cut takes all in it along."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync(path.parent)


def fsync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and itself."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            fsync(Path(parent, name))
        fsync(Path(parent))


def fsync(path: Path) -> None:
    """Flush one file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
