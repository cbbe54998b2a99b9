import pytest
import torch
from torch import Tensor

from training.fusion import MAX_WEIGHT, Fusion, fit_fusion, fuse
from training.recipe import Task
from training.scoring import clip_loss, clip_probabilities

N_CLIPS, N_WINDOWS, N_LABELS = 120, 2, 5


def scores_of(strength: float, targets: Tensor, seed: int) -> Tensor:
    """(n_clips * n_windows, n_labels): noise, plus `strength` where the clip has the label."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_CLIPS * N_WINDOWS, N_LABELS, generator=generator) + strength * targets.repeat_interleave(
        N_WINDOWS, dim=0
    )


def problem(task: Task) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    if task == "single_label":
        targets = torch.eye(N_LABELS)[torch.randint(0, N_LABELS, (N_CLIPS,), generator=generator)]
    else:
        targets = (torch.rand(N_CLIPS, N_LABELS, generator=generator) < 0.4).float()
    return targets, torch.arange(N_CLIPS).repeat_interleave(N_WINDOWS)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_stream_that_says_nothing_ends_with_almost_no_weight(task: Task) -> None:
    targets, owner = problem(task)
    scores = {"good": scores_of(2.0, targets, 1), "noise": scores_of(0.0, targets, 2)}
    weights = fit_fusion(scores, owner, targets, task).weights
    assert weights["good"] > 0.5
    assert 0 <= weights["noise"] < 0.2 * weights["good"]


def test_a_stream_that_is_always_wrong_ends_with_no_weight_at_all() -> None:
    targets, owner = problem("single_label")
    weights = fit_fusion(
        {"good": scores_of(2.0, targets, 1), "wrong": scores_of(-2.0, targets, 2)}, owner, targets, "single_label"
    ).weights
    assert weights["wrong"] == 0


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_fused_loss_is_no_worse_than_any_streams_nor_than_equal_weights(task: Task) -> None:
    targets, owner = problem(task)
    scores = {name: scores_of(strength, targets, i) for i, (name, strength) in enumerate([("a", 2.0), ("b", 1.0)])}

    def loss(fusion: Fusion) -> float:
        return float(clip_loss(clip_probabilities(fuse(scores, fusion), owner, task), targets, task))

    fitted = fit_fusion(scores, owner, targets, task)
    slack = sum(weight**2 for weight in fitted.weights.values()) / N_CLIPS
    for rival in ({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}):
        assert loss(fitted) <= loss(Fusion(rival, {"a": 1.0, "b": 1.0})) + slack


def test_how_loud_a_streams_scores_are_makes_no_difference() -> None:
    targets, owner = problem("single_label")
    scores = scores_of(2.0, targets, 1)
    mild = fit_fusion({"a": scores}, owner, targets, "single_label").weights["a"]
    hot = fit_fusion({"a": 10 * scores}, owner, targets, "single_label").weights["a"]
    assert hot == pytest.approx(mild, rel=1e-3)


def test_weights_stay_finite_where_validation_is_separable() -> None:
    targets, owner = problem("single_label")
    perfect = 5 * targets.repeat_interleave(N_WINDOWS, dim=0)
    assert 0 < fit_fusion({"a": perfect}, owner, targets, "single_label").weights["a"] < MAX_WEIGHT / 4


def test_a_clips_probability_is_the_mean_of_its_windows() -> None:
    scores = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 0.0]])
    owner = torch.tensor([0, 0, 1])
    assert clip_probabilities(scores, owner, "single_label").tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert clip_probabilities(scores, owner, "multi_label").tolist() == [[0.75, 0.5], [0.5, 0.5]]
