from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from training.metrics import (
    accuracy,
    aucs,
    average_precisions,
    confusion,
    d_prime,
    macro_f1,
    make_measure,
    recalls,
)


def test_accuracy_and_macro_f1_of_a_hand_worked_example() -> None:
    truth, choice = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    assert accuracy(truth, choice) == pytest.approx(4 / 6)
    assert macro_f1(truth, choice, 3) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert macro_f1(truth, choice, 9) == macro_f1(truth, choice, 3)


def test_average_precision_and_auc_of_a_hand_worked_example() -> None:
    targets = np.array([[1], [0], [1], [0]])
    probabilities = np.array([[0.9], [0.8], [0.7], [0.1]])
    assert average_precisions(targets, probabilities)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert aucs(targets, probabilities)[0] == pytest.approx(3 / 4)


def test_d_prime_is_the_distance_of_two_unit_gaussians_with_that_auc() -> None:
    assert d_prime(0.5) == pytest.approx(0)
    assert d_prime(NormalDist().cdf(2 / np.sqrt(2))) == pytest.approx(2)
    assert np.isfinite(d_prime(1.0))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 40), levels=st.integers(2, 50))
def test_ranked_metrics_equal_scikit_learns_with_ties_and_weights(seed: int, n: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, (n, 3))
    probabilities = generator.integers(0, levels, (n, 3)) / levels
    weights = generator.integers(0, 4, n)
    precision, area = average_precisions(targets, probabilities, weights), aucs(targets, probabilities, weights)
    for j in range(3):
        n_hits, n_misses = weights @ targets[:, j], weights @ (1 - targets[:, j])
        if n_hits:
            wanted = average_precision_score(targets[:, j], probabilities[:, j], sample_weight=weights)
            assert precision[j] == pytest.approx(wanted)
        else:
            assert np.isnan(precision[j])
        if n_hits and n_misses:
            wanted = roc_auc_score(targets[:, j], probabilities[:, j], sample_weight=weights)
            assert area[j] == pytest.approx(wanted)
        else:
            assert np.isnan(area[j])


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40))
def test_macro_f1_equals_scikit_learns(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    truth, choice = generator.integers(0, 4, (2, n))
    labels = sorted(set(truth.tolist()) | set(choice.tolist()))
    assert macro_f1(truth, choice, 4) == pytest.approx(f1_score(truth, choice, average="macro", labels=labels))


def test_weights_that_count_a_clip_twice_equal_having_it_twice() -> None:
    generator = np.random.default_rng(0)
    for task in ("single_label", "multi_label"):
        targets = (
            np.eye(4)[generator.integers(0, 4, 30)] if task == "single_label" else generator.integers(0, 2, (30, 4))
        )
        probabilities = generator.random((30, 4))
        weights = generator.integers(0, 3, 30)
        twice = make_measure(task, np.repeat(targets, weights, axis=0), np.repeat(probabilities, weights, axis=0))
        assert make_measure(task, targets, probabilities)(weights) == pytest.approx(twice(None))


def test_perfect_and_hopeless_rankings_have_the_extreme_figures() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    best, worst = (
        make_measure("multi_label", targets, targets * 1.0),
        make_measure("multi_label", targets, 1.0 - targets),
    )
    assert best(None)["map"] == 1
    assert best(None)["mauc"] == 1
    assert worst(None)["mauc"] == 0


def test_no_figure_is_made_up_where_no_class_has_one() -> None:
    probabilities = np.random.default_rng(0).random((3, 2))
    found = make_measure("multi_label", np.zeros((3, 2)), probabilities)(None)
    assert set(found) == {"map", "mauc", "d_prime"}
    assert np.isnan(list(found.values())).all()
    found = make_measure("multi_label", np.ones((3, 2)), probabilities)(None)
    assert found["map"] == 1
    assert np.isnan([found["mauc"], found["d_prime"]]).all()


def test_recall_and_confusion_of_a_hand_worked_example() -> None:
    targets = np.eye(3)[[0, 0, 1]]
    probabilities = np.eye(3)[[0, 2, 1]]
    assert confusion(targets, probabilities).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    found = recalls(targets, probabilities)
    assert found[:2].tolist() == [0.5, 1]
    assert np.isnan(found[2])
