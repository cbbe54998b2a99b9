"""FSD50K: 51,197 clips with any of 200 labels, split officially, in the layout of the published archives.

    FSD50K.ground_truth/dev.csv    fname, labels, mids, split ("train" or "val")
    FSD50K.ground_truth/eval.csv   fname, labels, mids
    FSD50K.dev_audio/, FSD50K.eval_audio/   {fname}.wav

Who uploaded a clip is not in these tables, so there is no source group; the official split already keeps uploaders
apart. Source: Fonseca et al., FSD50K: An Open Dataset of Human-Labeled Sound Events, IEEE/ACM TASLP 30, 2022.
"""

from pipeline.datasets.listing import ListedClip, Row, clips_from_rows, read_rows, split_labels
from pipeline.locations import Location, join
from storage_schema.errors import InputError

_DEV_SPLITS = {"train": "train", "val": "validation"}


def list_clips(root: Location) -> list[ListedClip]:
    """The clips of both tables: dev as train and validation, eval as test. InputError where one is malformed."""
    dev, evaluation = (join(root, f"FSD50K.ground_truth/{name}.csv") for name in ("dev", "eval"))
    clips = clips_from_rows(dev, read_rows(dev, ("fname", "labels", "split")), _dev_clip)
    clips += clips_from_rows(evaluation, read_rows(evaluation, ("fname", "labels")), _eval_clip)
    return sorted(clips, key=lambda clip: clip.uri)


def _dev_clip(row: Row) -> ListedClip:
    if row["split"] not in _DEV_SPLITS:
        raise InputError(f"a split of the dev set is 'train' or 'val', not {row['split']!r}")
    return _clip("FSD50K.dev_audio", row, _DEV_SPLITS[row["split"]])


def _eval_clip(row: Row) -> ListedClip:
    return _clip("FSD50K.eval_audio", row, "test")


def _clip(folder: str, row: Row, split: str) -> ListedClip:
    return ListedClip(f"{folder}/{row['fname']}.wav", split_labels(row["labels"], ","), split)
