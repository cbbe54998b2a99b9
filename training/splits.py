"""Who learns, who chooses, who judges: official folds and splits, and validation cut by source group.

What it alone knows is when a comparison would be unfair: a recording on both sides of a split, or, where we divide, a
group of related clips torn apart. Pure functions of the table of clips.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage_schema.errors import InputError
from training.recipe import SplitSettings, Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One recording with its labels. `group` is shared by clips cut from one source; `duration_s` may be unknown."""

    clip_id: str
    uri: str
    labels: tuple[str, ...]
    split: str | None
    fold: int | None
    group: str
    duration_s: float | None


@dataclass(frozen=True)
class Fold:
    """One division of the examples; the three arrays hold their indices, ascending."""

    number: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def read_examples(clips: pa.Table, dataset: str, labels: Sequence[str] = ()) -> tuple[list[Example], int]:
    """The readable clips of `dataset`, one row each, in the order of the table; and how many could not be read.

    labels: where given, only clips that carry one of them, and only these labels of theirs.
    Raises InputError where the snapshot has no such dataset, or the dataset no such label.
    """
    rows = [row for row in clips.to_pylist() if row["dataset"] == dataset]
    if not rows:
        known = sorted({name.as_py() for name in clips["dataset"].unique()})
        raise InputError(f"the store has no dataset {dataset!r}; it has {', '.join(known) or 'no clips at all'}")
    if labels:
        rows = _with_labels(rows, dataset, labels)
    examples = [
        Example(
            row["clip_id"],
            row["uri"],
            tuple(sorted(set(row["labels"]))),
            row["split"],
            row["fold"],
            row["source_group"] if row["source_group"] is not None else f"clip {row['clip_id']}",
            row["duration_s"],
        )
        for row in rows
        if row["clip_id"] is not None
    ]
    return examples, len(rows) - len(examples)


def _with_labels(rows: Sequence[dict[str, Any]], dataset: str, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that carry one of `labels`, without their other labels."""
    known = sorted({label for row in rows for label in row["labels"]})
    unknown = sorted(set(labels) - set(known))
    if unknown:
        shown = f"{', '.join(known[:20])}{' and others' if len(known) > 20 else ''}"
        raise InputError(
            f"the recipe's [data] labels names {', '.join(map(repr, unknown))}, which no clip of {dataset} carries; "
            f"it has {shown or 'no labels'}"
        )
    kept = [row | {"labels": [label for label in row["labels"] if label in labels]} for row in rows]
    return [row for row in kept if row["labels"]]


def merge_copies(examples: Sequence[Example], settings: SplitSettings) -> list[Example]:
    """One example per recording, copies of the same bytes counted once.

    Raises InputError where the copies lie on two sides of a split, or carry different labels.
    """
    first: dict[str, Example] = {}
    for example in examples:
        known = first.setdefault(example.clip_id, example)
        for what, one, other in (("fold", known.fold, example.fold), ("split", known.split, example.split)):
            if one != other and settings.kind == {"fold": "folds", "split": "official"}[what]:
                raise InputError(
                    f"{known.uri} and {example.uri} are the same recording, but in {what} {one} and {what} {other}: a "
                    "model would be judged on what it has learned from; remove one of them and ingest again"
                )
        if known.labels != example.labels:
            raise InputError(
                f"{known.uri} and {example.uri} are the same recording, but one is labelled {list(known.labels)} and "
                f"the other {list(example.labels)}; correct the labels and ingest again"
            )
    return list(first.values())


def infer_task(examples: Sequence[Example], stated: Task | None) -> Task:
    """The task: as stated, else single_label where every clip has exactly one label. InputError where neither fits."""
    unlabelled = [example.uri for example in examples if not example.labels]
    several = [example.uri for example in examples if len(example.labels) > 1]
    if stated == "single_label" and (unlabelled or several):
        raise InputError(
            f"the recipe says single_label, but {len(unlabelled)} clips have no label and {len(several)} have several, "
            f'such as {(unlabelled + several)[0]}; correct the labels, or write task = "multi_label"'
        )
    if stated is None and unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(examples)} clips have no label, such as {unlabelled[0]}; label them, or write "
            'task = "multi_label" in the recipe where no label means that none of the classes is heard'
        )
    return stated or ("multi_label" if several else "single_label")


def make_folds(examples: Sequence[Example], settings: SplitSettings, seed: int) -> list[Fold]:
    """The divisions that `settings` asks for, the same for the same examples and seed.

    Raises InputError for missing folds or splits and for an empty side. A label that only test clips have stays, and is
    named in the notes of the run (`training.notes`).
    """
    if settings.kind == "folds":
        folds = _by_fold(examples, settings, seed)
    elif settings.kind == "official":
        folds = [_by_split(examples, settings, seed)]
    elif settings.kind == "by_hash":
        is_test = np.array([_is_test(example.group, settings.test_share, seed) for example in examples], bool)
        rest, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        folds = [_with_validation(examples, 1, rest, test, settings, seed)]
    else:
        rest, test = hold_out(examples, np.arange(len(examples)), settings.test_share, seed)
        folds = [_with_validation(examples, 1, rest, test, settings, seed)]
    for fold in folds:
        _check(examples, fold)
    return folds


def hold_out(
    examples: Sequence[Example], among: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set about `share` of the clips of every label aside, whole groups only; (kept, set aside), both ascending.

    Labels are served from the rarest to the commonest, groups in a seeded order. A group stays where taking it would
    leave one of its labels without a single kept clip.
    """
    members: dict[str, list[int]] = defaultdict(list)
    by_label: dict[str, list[int]] = defaultdict(list)
    for i in among.tolist():
        members[examples[i].group].append(i)
        for label in examples[i].labels:
            by_label[label].append(i)
    kept = {label: len(indices) for label, indices in by_label.items()}
    groups = sorted(members)
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = [groups[i] for i in order]
    with_label: dict[str, list[str]] = defaultdict(list)
    costs: dict[str, dict[str, int]] = {}
    for group in shuffled:
        costs[group] = defaultdict(int)
        for i in members[group]:
            for label in examples[i].labels:
                costs[group][label] += 1
        for label in costs[group]:
            with_label[label].append(group)

    aside: set[str] = set()
    for label in sorted(by_label, key=lambda label: (len(by_label[label]), label)):
        total = len(by_label[label])
        for group in with_label[label]:
            if total - kept[label] >= round(share * total):
                break
            cost = costs[group]
            if group not in aside and all(kept[other] > n for other, n in cost.items()):
                aside.add(group)
                for other, n in cost.items():
                    kept[other] -= n
    is_aside = np.array([examples[i].group in aside for i in among.tolist()], bool)
    return among[~is_aside], among[is_aside]


def _is_test(group: str, share: float, seed: int) -> bool:
    """Whether a group of clips is tested; it depends on nothing but the group, and so outlasts all that is added."""
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def label_matrix(examples: Sequence[Example], labels: Sequence[str]) -> NDArray[np.float32]:
    """(n_examples, n_labels) float32, 1 where the clip carries the label and 0 elsewhere."""
    column = {label: j for j, label in enumerate(labels)}
    matrix = np.zeros((len(examples), len(labels)), np.float32)
    for i, example in enumerate(examples):
        matrix[i, [column[label] for label in example.labels]] = 1
    return matrix


def _by_fold(examples: Sequence[Example], settings: SplitSettings, seed: int) -> list[Fold]:
    without = [example.uri for example in examples if example.fold is None]
    if without:
        raise InputError(
            f"{len(without)} of {len(examples)} clips have no fold, such as {without[0]}; the recipe's [split] kind "
            'must be "official" or "held_out" for this dataset'
        )
    numbers = np.array([example.fold for example in examples], np.int64)
    known = sorted(set(numbers.tolist()))
    unknown = sorted(set(settings.test_folds) - set(known))
    if unknown:
        raise InputError(f"test_folds asks for fold {unknown[0]}, but the dataset has folds {known}")
    chosen = list(dict.fromkeys(settings.test_folds)) or known
    return [
        _with_validation(
            examples, number, np.flatnonzero(numbers != number), np.flatnonzero(numbers == number), settings, seed
        )
        for number in chosen
    ]


def _by_split(examples: Sequence[Example], settings: SplitSettings, seed: int) -> Fold:
    strangers = [example for example in examples if example.split not in SPLITS]
    if strangers:
        raise InputError(
            f"{len(strangers)} of {len(examples)} clips have no split of {', '.join(SPLITS)}, such as "
            f'{strangers[0].uri}; the recipe\'s [split] kind must be "folds" or "held_out" for this dataset'
        )
    names = np.array([str(example.split) for example in examples])
    train, validation, test = (np.flatnonzero(names == name) for name in SPLITS)
    if len(validation):
        return Fold(1, train, validation, test)
    return _with_validation(examples, 1, train, test, settings, seed)


def _with_validation(
    examples: Sequence[Example],
    number: int,
    rest: NDArray[np.int64],
    test: NDArray[np.int64],
    settings: SplitSettings,
    seed: int,
) -> Fold:
    train, validation = hold_out(examples, rest, settings.validation_share, seed + number)
    return Fold(number, train, validation, test)


def _check(examples: Sequence[Example], fold: Fold) -> None:
    sides = {"training": fold.train, "validation": fold.validation, "test": fold.test}
    for name, indices in sides.items():
        if not len(indices):
            raise InputError(
                f"fold {fold.number} has no {name} clips ({', '.join(f'{len(i)} {n}' for n, i in sides.items())}); "
                "check the recipe's [split], and that the clips have several source groups"
            )
