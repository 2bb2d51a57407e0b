"""Soft split (paper section 3.1, equation 3) and the linear maps that follow it.

A soft split unfolds a feature map into overlapping k x k windows, each a token of C*k*k values.
The network never reads those tokens themselves, only LayerNorm + Linear or Linear of them. Both
are convolutions of the map, so the windows (k*k/stride^2 times the map's size) are never written
to memory. For a window u with mean m and deviation s, a linear map W, b and LayerNorm's g, c:

    W (g (u - m) / s + c) + b = (Wg - rowmean(Wg)) u / s + (W c + b)

because rows that sum to zero do not see m. The window sums behind s come from average pooling
with padded zeros counted, as unfolding counts them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.precision import widen, without_autocast


@dataclass(frozen=True)
class SoftSplit:
    """Windows of `kernel` x `kernel` every `stride` pixels, the map padded by `padding` zeros.

    `of_pixels` marks the split of the image itself: windows of a plain sky differ by one grey
    level in 250, which rounding to half precision (and a float32 variance) would erase.
    """

    kernel: int
    stride: int
    padding: int
    of_pixels: bool = False

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of windows over a map of `height` x `width`."""

        def count(size: int) -> int:
            return (size + 2 * self.padding - self.kernel) // self.stride + 1

        return count(height), count(width)

    def tokens(self, height: int, width: int) -> int:
        """Number of windows over a map of `height` x `width`."""
        rows, columns = self.grid(height, width)
        return rows * columns

    def token_dim(self, channels: int) -> int:
        """Values in one window of a map of `channels`: C*k*k."""
        return channels * self.kernel**2


def split_linear(x: Tensor, split: SoftSplit, linear: nn.Linear) -> Tensor:
    """`linear` of each window: (B, C, H, W) -> (B, tokens, linear.out_features)."""
    return _flatten(_convolve(x, split, linear.weight, linear.bias))


def split_norm_linear(x: Tensor, split: SoftSplit, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    """`linear(norm(window))` of each window: (B, C, H, W) -> (B, tokens, linear.out_features)."""
    with without_autocast(x):
        weight = widen(linear.weight) * widen(norm.weight)
        weight = weight - weight.mean(1, keepdim=True)
        linear_bias = None if linear.bias is None else widen(linear.bias)
        bias = F.linear(widen(norm.bias), widen(linear.weight), linear_bias)
        rstd = _reciprocal_deviation(x, split, norm.eps)
        projected = _convolve(widen(x), split, weight) if split.of_pixels else None
    if projected is None:
        projected = _convolve(x, split, weight.to(x.dtype))
    projected, rstd = (_flatten(t).to(bias.dtype) for t in (projected, rstd))
    # Without gradients the result takes the place of what it is made of: the largest tensor there
    # is, which sets the peak of memory.
    out = None if torch.is_grad_enabled() else projected
    return torch.addcmul(bias, projected, rstd, out=out).to(linear.weight.dtype)


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, rows*columns, C) -> (B, C, rows, columns), a channels-last view."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def _convolve(x: Tensor, split: SoftSplit, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = weight.unflatten(1, (x.shape[1], split.kernel, split.kernel))
    stride, padding = split.stride, split.padding
    if split.of_pixels:
        x, kernel = _in_blocks(x, kernel, split)
        stride, padding = 1, 0
    x = x.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, kernel, bias, stride, padding)


def _in_blocks(x: Tensor, kernel: Tensor, split: SoftSplit) -> tuple[Tensor, Tensor]:
    """Map and kernel with the stride x stride pixels of a block as channels of one pixel.

    The same products for a convolution of stride 1: over three channels it reached half the rate
    of a matrix product. What the kernel lacks to whole blocks is zero.
    """
    rows, columns = split.grid(*x.shape[-2:])
    lacking = -split.kernel % split.stride

    def after(count: int, size: int) -> int:
        return (count - 1) * split.stride + split.kernel + lacking - size - split.padding

    height, width = x.shape[-2:]
    before = split.padding
    x = F.pad(x, (before, after(columns, width), before, after(rows, height)))
    kernel = F.pad(kernel, (0, lacking, 0, lacking))
    return F.pixel_unshuffle(x, split.stride), F.pixel_unshuffle(kernel, split.stride)


def _reciprocal_deviation(x: Tensor, split: SoftSplit, eps: float) -> Tensor:
    """1 / sqrt(variance + eps) of each window, (B, 1, rows, columns)."""
    x = x.double() if split.of_pixels else widen(x)
    moments = torch.cat([x.mean(1, keepdim=True), x.square().mean(1, keepdim=True)], dim=1)
    pooled = F.avg_pool2d(moments, split.kernel, split.stride, split.padding)
    mean, mean_square = pooled.split(1, dim=1)
    # Cancellation can leave a variance slightly below zero.
    return (mean_square - mean.square()).clamp_min(0).add(eps).rsqrt()


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
