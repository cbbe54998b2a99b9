import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.training.synthetic import CENTRED, WAVEFORM, noise
from training.baselines import logistic_regression, majority, pool_clips
from training.windows import StreamFrames


def data(n_labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    classes = np.arange(60) % n_labels
    pooled = generator.standard_normal((60, 5)).astype(np.float32) * 3 + 7
    pooled[:, 0] += 4 * classes
    return pooled, np.eye(n_labels, dtype=np.float32)[classes]


def test_the_majority_class_hears_nothing_and_knows_the_shares() -> None:
    targets = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    model = majority(targets, "single_label")
    found = model.probabilities(np.zeros((2, 0), np.float32), "single_label")
    np.testing.assert_allclose(found, [[0.75, 0.25, 0], [0.75, 0.25, 0]], atol=1e-5)
    both = majority(targets, "multi_label").probabilities(np.zeros((1, 0), np.float32), "multi_label")
    np.testing.assert_allclose(both, [[0.75, 0.25, 0]], atol=1e-5)


def test_multinomial_regression_equals_scikit_learns() -> None:
    pooled, targets = data()
    standard = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    wanted = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(standard, targets.argmax(axis=1))
    found = logistic_regression(["timbre"], pooled, targets, "single_label").probabilities(pooled, "single_label")
    np.testing.assert_allclose(found, wanted.predict_proba(standard), atol=1e-3)


def test_one_against_rest_regression_equals_scikit_learns() -> None:
    pooled, targets = data()
    targets[:10, 2] = 1
    standard = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    found = logistic_regression(["timbre"], pooled, targets, "multi_label").probabilities(pooled, "multi_label")
    for j in range(3):
        wanted = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(standard, targets[:, j])
        np.testing.assert_allclose(found[:, j], wanted.predict_proba(standard)[:, 1], atol=1e-3)


def test_pooling_is_the_mean_and_standard_deviation_of_a_clips_own_frames() -> None:
    values = np.concatenate([np.full((4, 6), 2.0), np.tile([[0.0], [4.0]], (2, 6))]).astype(np.float32)
    frames = StreamFrames.end_to_end(CENTRED, np.array([4, 4]), {"descriptors": values})
    pooled = pool_clips(frames, [1, 0])
    assert pooled.tolist() == [[2.0] * 12, [2.0] * 6 + [0.0] * 6]


def test_pooled_waveforms_do_not_depend_on_phase() -> None:
    frames = StreamFrames.of_clip(WAVEFORM, noise(WAVEFORM, 0.5, np.random.default_rng(0)))
    flipped = StreamFrames.of_clip(WAVEFORM, {"samples": -frames.arrays["samples"]})
    assert pool_clips(frames, [0]) == pytest.approx(pool_clips(flipped, [0]), abs=1e-3)
