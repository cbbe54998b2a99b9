"""What a reader of a run's figures must know about its clips: each a sentence that stands below the table.

These are rules and not mistakes. A label that only test clips carry stays, and nobody can find it; one that no test
clip carries is learned and not judged; a class with a single clip is always one of the two. A source group on both
sides of an official division is left where the dataset put it, and said.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from training.splits import Example, Fold

_MOST_NAMED = 5


def split_notes(
    examples: Sequence[Example], folds: Sequence[Fold], labels: Sequence[str], *, learns_validation: bool
) -> tuple[str, ...]:
    """One sentence for each thing about `folds` that their figures do not show; none where all is as it should be.

    learns_validation: whether the models are fitted on the validation clips too before they are judged.
    """
    notes = [note for fold in folds for note in _fold_notes(examples, fold, learns_validation)]
    judged = {label for fold in folds for i in fold.test for label in examples[i].labels}
    if silent := [label for label in labels if label not in judged]:
        notes.append(f"No test clip carries {_names(silent)}: learned, but no figure speaks of it.")
    return tuple(notes)


def masked_notes(n_lacking: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence for each stream that some clips lack; those are judged by what they have."""
    return tuple(
        f"{n} clips lack the stream {stream}, which is masked there" if n > 1 else f"1 clip lacks the stream {stream}"
        for stream, n in n_lacking.items()
        if n
    )


def copies_note(n_copies: int) -> tuple[str, ...]:
    """That some files hold the same recording as others."""
    if not n_copies:
        return ()
    return (
        f"{n_copies} {'file is a copy of another' if n_copies == 1 else 'files are copies of others'}, counted once.",
    )


def _fold_notes(examples: Sequence[Example], fold: Fold, learns_validation: bool) -> list[str]:
    learned = np.concatenate([fold.train, fold.validation]) if learns_validation else fold.train
    heard = {label for i in learned for label in examples[i].labels}
    unheard = {label for i in fold.test for label in examples[i].labels} - heard
    notes = []
    if unheard:
        n = sum(not heard.issuperset(examples[i].labels) for i in fold.test)
        notes.append(
            f"No training clip of fold {fold.number} carries {_names(sorted(unheard))}: learned by no model, and "
            f"missed on {n} test {'clip' if n == 1 else 'clips'}."
        )
    groups = [{examples[i].group for i in side} for side in (learned, fold.test)]
    if n_torn := len(groups[0] & groups[1]):
        notes.append(
            f"{n_torn} source {'group has' if n_torn == 1 else 'groups have'} clips among both training and test clips "
            f"of fold {fold.number}, as the dataset divides them."
        )
    return notes


def _names(labels: Sequence[str]) -> str:
    rest = len(labels) - _MOST_NAMED
    return ", ".join(map(repr, labels[:_MOST_NAMED])) + (f" and {rest} other labels" if rest > 0 else "")
