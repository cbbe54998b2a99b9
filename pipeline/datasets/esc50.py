"""ESC-50 and ESC-10: 5 s recordings in 50 (10) classes, 5 official folds, in the layout of the published archive.

    meta/esc50.csv   filename, fold, target, category, esc10, src_file, take
    audio/           {fold}-{src_file}-{take}-{target}.wav or .ogg

Clips of one `src_file` are cuts of one Freesound recording. Source: K. J. Piczak, ESC: Dataset for Environmental Sound
Classification, ACM Multimedia 2015.
"""

from pipeline.datasets.listing import ListedClip, Row, clips_from_rows, parse_fold, read_rows
from pipeline.locations import Location, join


def list_clips(root: Location) -> list[ListedClip]:
    """The clips of `meta/esc50.csv`. InputError where it is missing or malformed."""
    path = join(root, "meta/esc50.csv")
    return clips_from_rows(path, read_rows(path, ("filename", "fold", "category", "src_file")), _clip)


def _clip(row: Row) -> ListedClip:
    return ListedClip(
        uri=f"audio/{row['filename']}",
        labels=(row["category"],),
        fold=parse_fold(row["fold"]),
        source_group=row["src_file"] or None,
    )
