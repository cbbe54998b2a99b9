"""Any folder of recordings: a clip's label is the name of the folder it lies in.

Whatever has an audio suffix is listed, even a pipe, a folder or a broken link, so that ingest can say what is
wrong with it. Links to folders are not followed, so that a loop of them ends. A name that is no UTF-8 cannot be written
into a table: it is listed with backslash escapes, and ingest reports that no file has the escaped name.
"""

import os
from pathlib import Path

from pipeline.datasets.listing import ListedClip, posix
from storage_schema.errors import InputError

SUFFIXES = frozenset([".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"])
"""What libsndfile 1.2 reads, by the names people give it."""


def list_clips(root: Path) -> list[ListedClip]:
    """Every audio file below `root`, hidden ones excepted. InputError where a folder cannot be listed."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; name the one that the recordings lie in")

    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be listed: {error.strerror}") from error

    clips = []
    for folder, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in (*files, *subfolders):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                path = Path(folder, name).relative_to(root)
                clips.append(ListedClip(posix(path), labels=_label(path)))
    return sorted(clips, key=lambda clip: clip.uri)


def _label(path: Path) -> tuple[str, ...]:
    return (posix(path.parent).rpartition("/")[2],) if path.parent.name else ()
