import math

import pytest
import torch

from training.contrastive import info_nce


def embeddings(seed: int, n: int = 16) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def everything(n: int = 16) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


def test_streams_that_agree_cost_nothing_and_strangers_cost_a_guess() -> None:
    same, other = embeddings(0), embeddings(1)
    present = {"a": everything(), "b": everything()}
    assert float(info_nce({"a": same, "b": 3 * same}, present, 0.05)) < 0.01
    assert float(info_nce({"a": same, "b": other}, present, 10.0)) == pytest.approx(math.log(16), abs=0.02)


def test_it_is_symmetric_and_the_mean_over_pairs() -> None:
    kept = {name: embeddings(seed) for seed, name in enumerate("abc")}
    present = dict.fromkeys(kept, everything())
    pairs = [info_nce({one: kept[one], other: kept[other]}, present, 0.1) for one, other in ("ab", "ac", "bc")]
    torch.testing.assert_close(info_nce(kept, present, 0.1), torch.stack(pairs).mean())
    torch.testing.assert_close(info_nce({"b": kept["b"], "a": kept["a"]}, present, 0.1), pairs[0])


def test_what_a_stream_has_not_heard_takes_no_part() -> None:
    one, other = embeddings(0), embeddings(1)
    present = {"a": everything(), "b": torch.arange(16) < 9}
    expected = info_nce({"a": one[:9], "b": other[:9]}, {"a": everything(9), "b": everything(9)}, 0.1)
    torch.testing.assert_close(info_nce({"a": one, "b": other}, present, 0.1), expected)
    nobody = {"a": everything(), "b": torch.zeros(16, dtype=torch.bool)}
    assert float(info_nce({"a": one, "b": other}, nobody, 0.1)) == 0
