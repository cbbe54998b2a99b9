"""Any dataset that a table describes: one CSV with a line a recording.

Columns: `path` (or `filename`), relative to the CSV's own folder, and `labels` (or `label`), separated by semicolons;
optionally `split` (train, validation, test), `fold` (a whole number) and `group` (what must stay together). An empty
field means that there is none.
"""

from pathlib import PurePosixPath

from pipeline.datasets.listing import ListedClip, Row, clips_from_rows, parse_fold, read_rows, split_labels
from pipeline.locations import Location, is_folder, join

METADATA_NAME = "metadata.csv"
"""What the table is called where the root is a folder."""


def list_clips(root: Location) -> list[ListedClip]:
    """The clips that `root`, a CSV file or a folder with `metadata.csv`, lists; their files need not be there.

    Raises InputError where the file is missing, has not the columns, or has lines that make no clip.
    """
    path = join(root, METADATA_NAME) if is_folder(root) else root
    return clips_from_rows(path, read_rows(path, ("path|filename", "labels|label")), _clip)


def _clip(row: Row) -> ListedClip:
    name = (row.get("path") or row.get("filename") or "").strip()
    return ListedClip(
        uri=_normalised(name),
        labels=split_labels(row.get("labels") or row.get("label") or "", ";"),
        split=(row.get("split") or "").strip() or None,
        fold=parse_fold(row["fold"]) if (row.get("fold") or "").strip() else None,
        source_group=(row.get("group") or "").strip() or None,
    )


def _normalised(name: str) -> str:
    """`./a//b.wav` as `a/b.wav`, so that a file has one name; `..` stays, and is refused."""
    return str(PurePosixPath(name)) if name else ""
