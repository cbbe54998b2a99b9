import torch

from training.dropout import Dropout


def test_the_share_is_dropped_and_the_mean_is_kept() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.2), torch.ones(1_001, 333)
    values = dropout(ones)
    is_dropped = values == 0
    assert abs(float(is_dropped.float().mean()) - 0.2) < 0.005
    assert torch.unique(values).numel() == 2
    torch.testing.assert_close(values.mean(), torch.tensor(1.0), atol=0.01, rtol=0)


def test_neighbours_are_dropped_independently_of_each_other() -> None:
    torch.manual_seed(0)
    is_dropped = (Dropout(0.5)(torch.ones(100_000)) == 0).float()
    for distance in (1, 2, 4, 7, 8):  # eight neighbours share one draw
        together = (is_dropped[:-distance] * is_dropped[distance:]).mean()
        assert abs(float(together) - 0.25) < 0.01


def test_gradients_pass_where_values_do() -> None:
    torch.manual_seed(0)
    inputs = torch.ones(64, 3, requires_grad=True)
    values = Dropout(0.3)(inputs)
    values.sum().backward()
    torch.testing.assert_close(inputs.grad, values.detach())


def test_the_same_seed_drops_the_same_and_evaluation_drops_nothing() -> None:
    dropout, values = Dropout(0.4), torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(values))
    assert torch.equal(*drawn)
    assert torch.equal(dropout.eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
