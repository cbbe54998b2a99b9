"""UrbanSound8K: 8,732 excerpts of up to 4 s in 10 classes, 10 official folds, in the layout of the published archive.

    metadata/UrbanSound8K.csv   slice_file_name, fsID, start, end, salience, fold, classID, class
    audio/fold1 ... fold10/     {fsID}-{classID}-{occurrence}-{slice}.wav

Excerpts of one `fsID` are cuts of one Freesound recording. Source: Salamon, Jacoby and Bello, A Dataset and Taxonomy
for Urban Sound Research, ACM Multimedia 2014.
"""

from pipeline.datasets.listing import ListedClip, Row, clips_from_rows, parse_fold, read_rows
from pipeline.locations import Location, join


def list_clips(root: Location) -> list[ListedClip]:
    """The clips of `metadata/UrbanSound8K.csv`. InputError where it is missing or malformed."""
    path = join(root, "metadata/UrbanSound8K.csv")
    return clips_from_rows(path, read_rows(path, ("slice_file_name", "fsID", "fold", "class")), _clip)


def _clip(row: Row) -> ListedClip:
    fold = parse_fold(row["fold"])
    return ListedClip(
        uri=f"audio/fold{fold}/{row['slice_file_name']}",
        labels=(row["class"],),
        fold=fold,
        source_group=row["fsID"] or None,
    )
