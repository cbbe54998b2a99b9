"""Any folder of recordings: a clip's label is the name of the folder it lies in.

Whatever has an audio suffix is listed, even a pipe, a folder or a broken link, so that ingest can say what is
wrong with it. Links to folders are not followed, so that a loop of them ends. A name that is no UTF-8 cannot be written
into a table: it is listed with backslash escapes and a problem, because nothing could find the file by that name again.
"""

from pathlib import PurePosixPath

from pipeline.datasets.listing import ListedClip, posix
from pipeline.locations import Location, is_folder, is_on_s3, join, names_below
from storage_schema.errors import InputError

SUFFIXES = frozenset([".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"])
"""What libsndfile 1.2 reads, by the names people give it."""


def list_clips(root: Location) -> list[ListedClip]:
    """Every audio file below `root`, hidden ones excepted. InputError where a folder cannot be listed."""
    if not (is_on_s3(root) or is_folder(root)):
        raise InputError(f"{root} is not a folder; name the one that the recordings lie in")
    try:
        paths = [PurePosixPath(name) for name in names_below(root)]
    except OSError as error:
        raise InputError(f"the folder {error.filename} cannot be listed: {error.strerror}") from error
    clips = [_clip(root, path) for path in paths if path.suffix.lower() in SUFFIXES]
    return sorted(clips, key=lambda clip: clip.uri)


def _clip(root: Location, path: PurePosixPath) -> ListedClip:
    uri = posix(path)
    problem = None
    if uri != str(path):
        problem = f"{join(root, uri)}: the name is no UTF-8 and stands here with escapes; rename the file, ingest again"
    return ListedClip(uri, labels=_label(path), problem=problem)


def _label(path: PurePosixPath) -> tuple[str, ...]:
    return (posix(path.parent).rpartition("/")[2],) if path.parent.name else ()
