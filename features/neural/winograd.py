"""A convolution of 3 by 3 with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).

Four neighbouring outputs of a filter with three taps are four products of sums of six neighbouring inputs, plus two
more, in place of twelve products; over two dimensions that is 36 for 144. The sums going in (`_INPUTS`), those of the
taps (`_TAPS`) and those coming out (`_OUTPUTS`) are small matrices, applied here as matrix products to whole tiles, so
that nearly all of the arithmetic is 36 products (tile, in) x (in, out), one for each position in a tile.

A tile's numbers are of the size of its inputs: float32 was measured to be right to 2e-6 of the largest output.
Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, arXiv 1509.09308.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_STEP, _REACH = 4, 6  # outputs of a tile and inputs that they depend on, along one side

_INPUTS = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_TAPS = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_OUTPUTS = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_BOTH_INPUTS = torch.kron(_INPUTS, _INPUTS).float()  # (36, 36)
_BOTH_OUTPUTS = torch.kron(_OUTPUTS, _OUTPUTS).float()  # (16, 36)


@dataclass(frozen=True)
class WinogradConvolution:
    """kernel: (36, in, out) float32, the taps as sums. bias: (out,) float32."""

    kernel: Tensor
    bias: Tensor


def make_winograd(weight: Tensor, bias: Tensor) -> WinogradConvolution:
    """The convolution with `weight` (out, in, 3, 3) and `bias` (out,); sums are made in float64."""
    n_out, n_in = weight.shape[:2]
    sums = torch.einsum("ia,jb,ocab->ijco", _TAPS, _TAPS, weight.double())
    return WinogradConvolution(sums.reshape(_REACH**2, n_in, n_out).float().contiguous(), bias.float())


def convolve_and_rectify(layer: WinogradConvolution, x: Tensor, n_tiles: int) -> Tensor:
    """Of x (n, height, width, in): relu of the convolution with a padding of 1, (n, height, width, out).

    n_tiles: about how many tiles to work out at a time, so that their sums stay in a cache.
    """
    n, height, width, n_in = x.shape
    rows, columns, n_out = -(-height // _STEP), -(-width // _STEP), len(layer.bias)
    padded = F.pad(x, (0, 0, 1, _STEP * columns + 1 - width, 1, _STEP * rows + 1 - height))
    down, across = padded.stride(1), padded.stride(2)
    tiled_inputs = padded.as_strided(  # neighbouring tiles share two rows or columns of what lies in memory once
        (_REACH, _REACH, n, rows, columns, n_in),
        (down, across, padded.stride(0), _STEP * down, _STEP * across, 1),
    )
    y = torch.empty(n, _STEP * rows, _STEP * columns, n_out)
    tiled = y.view(n, rows, _STEP, columns, _STEP, n_out)
    height_at_once = max(1, n_tiles // (n * columns))
    for first in range(0, rows, height_at_once):
        stop = min(first + height_at_once, rows)
        tiles = tiled_inputs[:, :, :, first:stop].contiguous()
        sums = (_BOTH_INPUTS @ tiles.view(_REACH**2, -1)).view(_REACH**2, -1, n_in)
        products = torch.bmm(sums, layer.kernel)  # (36, tile, out)
        outputs = (_BOTH_OUTPUTS @ products.view(_REACH**2, -1)).view(_STEP, _STEP, n, -1, columns, n_out)
        torch.add(outputs.permute(2, 3, 0, 4, 1, 5), layer.bias, out=tiled[:, first:stop])
    return y[:, :height, :width].relu_()
