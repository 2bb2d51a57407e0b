"""Counting multiply-accumulates: each module states its own cost beside its definition."""

from typing import cast

from torch import nn


def macs_of(module: nn.Module, *size: int) -> int:
    """`module.macs(*size)`: multiply-accumulates for one image.

    `size` is the number of tokens for what acts on tokens, height and width for what acts on maps.
    """
    return cast(int, module.macs(*size))  # pyright: ignore[reportCallIssue]
