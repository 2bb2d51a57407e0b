"""Dense connections between transformer blocks (paper section 3.2, Table 6).

After DenseNet (Huang et al. 2017, arXiv 1608.06993); keys and arithmetic are those of
models/t2t_vit_dense.py in the official repository.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.block import Block


class DenseBlock(Block):
    """A block whose output, cut to `growth` channels, is put beside its input."""

    def __init__(
        self, dim: int, growth: int, attn: nn.Module, mlp: nn.Module, *, drop_path: float = 0.0
    ):
        super().__init__(dim, attn, mlp, drop_path=drop_path)
        self.dense_linear = nn.Linear(dim, growth)

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, dim + growth), or the class token's row with `cls_only`."""
        grown = self.dense_linear(super().forward(x, cls_only))
        return torch.cat([x[:, :1] if cls_only else x, grown], dim=-1)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens, all of them carried to the end."""
        return super().macs(tokens) + tokens * self.dense_linear.weight.numel()


class Transition(nn.Module):
    """Linear and GELU between two stages of dense blocks, to a smaller width."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, out_dim)

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, out_dim), or the class token's row with `cls_only`."""
        return F.gelu(self.linear(x[:, :1] if cls_only else x))

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens."""
        return tokens * self.linear.weight.numel()
