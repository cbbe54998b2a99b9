"""What an adapter returns, and how it reads the metadata file it is given.

A path from a metadata file is a stranger's: one that is absolute or climbs out of the root is refused, so that no
dataset can name a file that is not its own. Problems are collected and raised together.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from pipeline.locations import Location, open_file
from storage_schema.errors import InputError

SPLITS = ("train", "validation", "test")

_MOST_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class ListedClip:
    """One recording of a dataset, whether or not its file is there.

    uri: path below the root with forward slashes; InputError where it is empty, absolute or leaves the root.
    split, fold: the dataset's own, None where it has none. source_group: clips that share one are near-duplicates or
    cuts of one recording, and must not be parted between train and test. problem: a sentence that says why the file
    cannot be read by its name, where that shows already.
    """

    uri: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    fold: int | None = None
    source_group: str | None = None
    problem: str | None = None

    def __post_init__(self) -> None:
        parts = self.uri.split("/")
        if not self.uri or self.uri.startswith("/") or "\0" in self.uri or {"", ".", ".."} & set(parts):
            raise InputError(f"the path {self.uri!r} does not stay below the dataset's root; write it relative to it")
        if self.split is not None and self.split not in SPLITS:
            raise InputError(f"a split is one of {', '.join(SPLITS)}, not {self.split!r}")


Adapter: TypeAlias = Callable[[Location], list[ListedClip]]
"""Lists the clips below a root, sorted by uri. Raises InputError where the root or its metadata is not as it should."""

Row: TypeAlias = Mapping[str, str]


def read_rows(path: Location, columns: Sequence[str]) -> list[tuple[int, Row]]:
    """The rows of the CSV at `path`, each with the number of the line it ends on; blank rows are left out.

    UTF-8, with or without a byte order mark; a field has at most 131,072 characters (the csv module's own bound).
    columns: those that must be there; `a|b` is satisfied by either.
    Raises InputError where the file is missing, is no CSV, lacks one of `columns`, or has rows of another width.
    """
    try:
        with open_file(path) as raw, io.TextIOWrapper(io.BufferedReader(raw), "utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = [" or ".join(names) for column in columns if not {*(names := column.split("|"))} & {*header}]
            if missing:
                raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
            rows: list[tuple[int, Row]] = [(reader.line_num, row) for row in reader if any(row.values())]
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}, which lists the recordings; check the root of the dataset") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name a CSV file that can") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8: {error}; export it again") from error
    with collected_problems(path) as problems:
        problems += [
            f"line {line}: not the {len(header)} fields that the header names"
            for line, row in rows
            if None in row or None in row.values()
        ]
    return rows


def clips_from_rows(
    path: Location, rows: Sequence[tuple[int, Row]], to_clip: Callable[[Row], ListedClip]
) -> list[ListedClip]:
    """One clip a row, sorted by uri; `path` is named in the InputError that reports every row that makes none."""
    clips = []
    with collected_problems(path) as problems:
        for line, row in rows:
            try:
                clips.append(to_clip(row))
            except InputError as error:
                problems.append(f"line {line}: {error}")
    return sorted(clips, key=lambda clip: clip.uri)


@contextmanager
def collected_problems(path: Location) -> Iterator[list[str]]:
    """A list to append problems to; at the end of the block one InputError tells of them all."""
    problems: list[str] = []
    yield problems
    if problems:
        shown = problems[:_MOST_PROBLEMS_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise InputError(f"{path} needs {len(problems)} correction(s):\n  " + "\n  ".join(shown))


def parse_fold(text: str) -> int:
    """A fold's number; InputError where `text` is no whole number >= 0 of at most four digits."""
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 4):
        raise InputError(f"a fold is a whole number such as 1, not {text!r}")
    return int(text)


def split_labels(text: str, separator: str) -> tuple[str, ...]:
    """The labels of `text` without blanks around them or repetitions, in the order written."""
    return tuple(dict.fromkeys(label for part in text.split(separator) if (label := part.strip())))


def posix(path: PurePosixPath) -> str:
    """A path as text that a table can hold: bytes of a name that are no UTF-8 are written as backslash escapes."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
