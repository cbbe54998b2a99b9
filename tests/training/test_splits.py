from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_schema.errors import InputError
from storage_schema.tables import CLIPS, to_table
from tests.training.synthetic import clip_id, clip_row
from training.recipe import SplitSettings
from training.splits import Example, hold_out, infer_task, label_matrix, make_folds, merge_copies, read_examples

FOLDS, OFFICIAL, HELD_OUT = SplitSettings(), SplitSettings(kind="official"), SplitSettings(kind="held_out")


def example(
    uri: str, label: str = "dog", *, fold: int | None = 1, split: str | None = None, group: str = ""
) -> Example:
    return Example(clip_id(uri), uri, (label,), split, fold, group or uri, 1.0)


def many(n: int = 40) -> list[Example]:
    return [
        example(f"{label}{i}", label, fold=1 + i % 4, split="test" if i % 4 == 3 else "train", group=f"{label}{i // 2}")
        for label in ("dog", "rain")
        for i in range(n // 2)
    ]


def test_each_fold_is_the_test_set_once() -> None:
    examples = many()
    folds = make_folds(examples, FOLDS, seed=0)
    assert [fold.number for fold in folds] == [1, 2, 3, 4]
    assert sorted(i for fold in folds for i in fold.test.tolist()) == list(range(len(examples)))
    for fold in folds:
        assert {examples[i].fold for i in fold.test} == {fold.number}
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(len(examples)))


def test_only_the_folds_asked_for_are_judged() -> None:
    assert [fold.number for fold in make_folds(many(), SplitSettings(test_folds=(3, 1)), seed=0)] == [3, 1]
    with pytest.raises(InputError, match=r"asks for fold 9, but the dataset has folds \[1, 2, 3, 4\]"):
        make_folds(many(), SplitSettings(test_folds=(9,)), seed=0)


def test_official_validation_clips_are_used_where_there_are_any() -> None:
    examples = many()
    without = make_folds(examples, OFFICIAL, seed=0)[0]
    named = [replace(e, split="validation") if e.uri.endswith("0") else e for e in examples]
    with_them = make_folds(named, OFFICIAL, seed=0)[0]
    assert {examples[i].split for i in without.validation} == {"train"}
    assert [named[i].split for i in with_them.validation] == ["validation"] * len(with_them.validation)
    assert len(with_them.validation) == sum(e.split == "validation" for e in named)


def test_held_out_clips_are_a_share_of_every_label() -> None:
    examples = many(200)
    fold = make_folds(examples, HELD_OUT, seed=0)[0]
    assert len(fold.test) == pytest.approx(40, abs=2)
    assert {examples[i].group for i in fold.test}.isdisjoint(examples[i].group for i in (*fold.train, *fold.validation))


@settings(deadline=None)
@given(
    groups=st.lists(st.integers(0, 8), min_size=4, max_size=60),
    labels=st.lists(st.sampled_from("abc"), min_size=60, max_size=60),
    share=st.floats(0.05, 0.9),
    seed=st.integers(0, 100),
)
def test_holding_out_never_tears_a_group_nor_takes_the_last_clip_of_a_label(
    groups: list[int], labels: list[str], share: float, seed: int
) -> None:
    examples = [example(f"{i}", labels[i], group=f"g{group}") for i, group in enumerate(groups)]
    everything = np.arange(len(examples))
    kept, aside = hold_out(examples, everything, share, seed)
    assert sorted([*kept, *aside]) == everything.tolist()
    assert {examples[i].group for i in kept}.isdisjoint(examples[i].group for i in aside)
    assert {examples[i].labels for i in aside} <= {examples[i].labels for i in kept}
    again = hold_out(examples, everything, share, seed)
    assert again[0].tolist() == kept.tolist()


def test_another_seed_cuts_another_validation_set() -> None:
    examples = many(100)
    one, other = (make_folds(examples, FOLDS, seed=seed)[0].validation.tolist() for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize(("settings", "what"), [(FOLDS, "fold 1 and fold 2"), (OFFICIAL, "split train and split test")])
def test_one_recording_on_two_sides_of_a_split_is_refused_with_both_names(settings: SplitSettings, what: str) -> None:
    one = example("a.wav", fold=1, split="train")
    other = replace(one, uri="copy of a.wav", fold=2, split="test")
    with pytest.raises(InputError, match=f"a.wav and copy of a.wav are the same recording, but in {what}"):
        merge_copies([one, other], settings)


def test_a_recording_twice_on_one_side_counts_once() -> None:
    one = example("a.wav")
    assert merge_copies([one, replace(one, uri="b.wav"), example("c.wav")], FOLDS) == [one, example("c.wav")]


def test_copies_with_different_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"labelled \['dog'\] and the other \['cat'\]"):
        merge_copies([example("a.wav"), replace(example("a.wav"), uri="b.wav", labels=("cat",))], FOLDS)


def test_a_label_that_only_test_clips_have_stays() -> None:
    examples = [*many(), example("only", "gong", fold=2, split="test")]
    folds = make_folds(examples, FOLDS, seed=0)
    assert len(examples) - 1 in folds[1].test
    assert all(len(examples) - 1 in folds[k].train for k in (0, 2, 3))  # the last of its label is never set aside


def test_only_clips_with_the_labels_asked_for_are_read_and_their_other_labels_are_forgotten() -> None:
    rows = [
        clip_row("a", ["dog", "rain"]),
        clip_row("b", ["cat"]),
        clip_row("c", ["dog"], clip_id=None, problem_kind="vanished", problem="gone"),
        clip_row("d", ["rain"], clip_id=None, problem_kind="vanished", problem="gone"),
    ]
    examples, n_unreadable = read_examples(to_table(rows, CLIPS), "made", ["dog", "cat"])
    assert [(one.uri, one.labels) for one in examples] == [("a", ("dog",)), ("b", ("cat",))]
    assert n_unreadable == 1
    with pytest.raises(InputError, match="names 'dgo', which no clip of made carries; it has cat, dog, rain"):
        read_examples(to_table(rows, CLIPS), "made", ["dgo", "cat"])


@pytest.mark.parametrize(
    ("settings", "changes", "sentence"),
    [
        (FOLDS, {"fold": None}, "40 of 40 clips have no fold"),
        (OFFICIAL, {"split": None}, "40 of 40 clips have no split"),
        (OFFICIAL, {"split": "train"}, "has no test clips"),
        (HELD_OUT, {"group": "one"}, "has no validation clips .40 training, 0 validation, 0 test."),
    ],
)
def test_a_split_that_cannot_be_made_says_why(settings: SplitSettings, changes: dict[str, str], sentence: str) -> None:
    examples = [replace(one, **changes) for one in many()]
    with pytest.raises(InputError, match=sentence):
        make_folds(examples, settings, seed=0)


def test_the_task_follows_from_the_labels_unless_it_is_stated() -> None:
    single, several = example("a"), replace(example("b"), labels=("dog", "rain"))
    silent = replace(example("c"), labels=())
    assert infer_task([single], None) == "single_label"
    assert infer_task([single, several], None) == "multi_label"
    assert infer_task([single, silent], "multi_label") == "multi_label"
    for examples, stated in (([single, silent], None), ([single, several], "single_label"), ([silent], "single_label")):
        with pytest.raises(InputError, match='task = "multi_label"'):
            infer_task(examples, stated)


def test_the_label_matrix_has_a_one_for_every_label() -> None:
    matrix = label_matrix([example("a", "y"), replace(example("b"), labels=("x", "y"))], ("x", "y"))
    assert matrix.tolist() == [[0, 1], [1, 1]]


def test_files_that_could_not_be_read_are_counted_and_an_unknown_dataset_is_refused() -> None:
    rows = [clip_row("a", ["dog"]), clip_row("b", ["dog"], clip_id=None, problem_kind="vanished", problem="gone")]
    table: pa.Table = to_table(rows, CLIPS)
    examples, n_unreadable = read_examples(table, "made")
    assert [one.uri for one in examples] == ["a"]
    assert n_unreadable == 1
    with pytest.raises(InputError, match="no dataset 'other'; it has made"):
        read_examples(table, "other")


def test_clip_tested_by_hash_is_tested_however_the_dataset_grows() -> None:
    by_hash = SplitSettings(kind="by_hash", test_share=0.3)
    before, after = (make_folds(many(n), by_hash, seed=0)[0] for n in (100, 160))
    tested = {many(100)[i].uri for i in before.test}
    assert 15 <= len(tested) <= 45
    assert tested == {many(160)[i].uri for i in after.test} & {each.uri for each in many(100)}
    assert tested != {many(100)[i].uri for i in make_folds(many(100), by_hash, seed=1)[0].test}
    groups = {many(100)[i].group for i in before.test}
    assert not groups & {many(100)[i].group for i in (*before.train, *before.validation)}
