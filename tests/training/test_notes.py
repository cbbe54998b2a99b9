"""What must be said beside the figures: labels on one side only, and groups on both."""

from collections.abc import Sequence

import numpy as np

from tests.training.synthetic import clip_id
from training.notes import copies_note, split_notes
from training.splits import Example, Fold


def examples_of(*labels: str, groups: Sequence[str] | None = None) -> list[Example]:
    """One clip a label, each in a group of its own unless `groups` says otherwise."""
    return [
        Example(clip_id(str(i)), f"{i}.wav", (label,), None, None, groups[i] if groups else str(i), 1.0)
        for i, label in enumerate(labels)
    ]


def fold(train: list[int], validation: list[int], test: list[int], number: int = 2) -> Fold:
    return Fold(number, np.array(train), np.array(validation), np.array(test))


def test_nothing_is_said_where_all_is_as_it_should_be() -> None:
    examples = examples_of("dog", "rain", "dog", "rain", "dog", "rain")
    assert split_notes(examples, [fold([0, 1], [2, 3], [4, 5])], ("dog", "rain"), learns_validation=True) == ()


def test_a_label_that_only_test_clips_carry_is_named_with_the_clips_it_is_missed_on() -> None:
    examples = examples_of("dog", "rain", "dog", "rain", "dog", "rain", "gong", "gong")
    notes = split_notes(examples, [fold([0, 1], [2, 3], [4, 5, 6, 7])], ("dog", "gong", "rain"), learns_validation=True)
    assert notes == ("No training clip of fold 2 carries 'gong': learned by no model, and missed on 2 test clips.",)


def test_a_label_of_validation_clips_counts_as_learned_only_where_they_are_learned_from() -> None:
    examples = examples_of("dog", "rain", "gong", "dog", "rain", "gong")
    folds, labels = [fold([0, 1], [2], [3, 4, 5])], ("dog", "gong", "rain")
    assert split_notes(examples, folds, labels, learns_validation=True) == ()
    (note,) = split_notes(examples, folds, labels, learns_validation=False)
    assert "'gong': learned by no model, and missed on 1 test clip." in note


def test_labels_that_no_test_clip_carries_are_named_and_many_are_counted() -> None:
    labels = [f"label {i}" for i in range(9)]
    examples = examples_of(*labels, labels[0], labels[0])
    (note,) = split_notes(examples, [fold(list(range(9)), [9], [10])], labels, learns_validation=True)
    assert note.startswith("No test clip carries 'label 1', 'label 2', 'label 3', 'label 4', 'label 5' and 3 other")


def test_a_class_with_one_clip_is_learned_or_judged_and_never_both() -> None:
    examples = examples_of("dog", "rain", "dog", "rain", "gong")
    folds = [fold([0, 1], [2], [3, 4], 1), fold([2, 3, 4], [1], [0], 2)]
    (note,) = split_notes(examples, folds, ("dog", "gong", "rain"), learns_validation=True)
    assert note.startswith("No training clip of fold 1 carries 'gong'")


def test_a_source_group_on_both_sides_is_counted() -> None:
    examples = examples_of("dog", "rain", "dog", "rain", "dog", "rain", groups=["a", "1", "a", "3", "a", "5"])
    (note,) = split_notes(examples, [fold([0, 1], [3], [2, 4, 5])], ("dog", "rain"), learns_validation=True)
    assert note.startswith("1 source group has clips among both training and test clips of fold 2")


def test_copies_are_counted() -> None:
    assert copies_note(0) == ()
    assert copies_note(1) == ("1 file is a copy of another, counted once.",)
    assert copies_note(3) == ("3 files are copies of others, counted once.",)
