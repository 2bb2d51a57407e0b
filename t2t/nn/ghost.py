"""Ghost blocks: half the features computed, the other half scaled copies of them.

After GhostNet (Han et al. 2020, arXiv 1911.11907), as paper section 3.2 and Table 6 bring it to
transformers; keys and arithmetic are those of models/t2t_vit_ghost.py in the official repository.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.attention import multi_head, split_heads
from t2t.nn.attention_map import softmax_map


class ChannelScale(nn.Module):
    """A factor per channel: the cheap operation, a depthwise convolution of one tap."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, 1, 1).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) -> (B, N, dim)."""
        return x * self.weight.flatten()


class GhostAttention(nn.Module):
    """Attention whose queries, keys and values are half linear maps, half scaled copies of them.

    `dim` must be even. Heads cut the doubled width in order: the first half of them hold what was
    computed, the second half its copies.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        half = dim // 2
        self.num_heads = num_heads
        self.q = nn.Linear(dim, half, bias=False)
        self.k = nn.Linear(dim, half, bias=False)
        self.v = nn.Linear(dim, half, bias=False)
        self.cheap_operation_q = ChannelScale(half)
        self.cheap_operation_k = ChannelScale(half)
        self.cheap_operation_v = ChannelScale(half)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, dim), or (B, 1, dim), the class token's row, with `cls_only`."""
        query = _doubled(x[:, :1] if cls_only else x, self.q, self.cheap_operation_q)
        key = _doubled(x, self.k, self.cheap_operation_k)
        value = _doubled(x, self.v, self.cheap_operation_v)
        return self.proj(multi_head(query, key, value, self.num_heads))

    def attention_map(self, x: Tensor) -> Tensor:
        """What softmax gives for `x` (B, N, dim): (B, heads, N, N)."""
        query = split_heads(_doubled(x, self.q, self.cheap_operation_q), self.num_heads)
        key = split_heads(_doubled(x, self.k, self.cheap_operation_k), self.num_heads)
        return softmax_map(query, key, query.shape[-1] ** -0.5)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens, all of them queries."""
        dim = self.proj.in_features
        linear = self.q.weight.numel() + self.k.weight.numel() + self.v.weight.numel() + dim * dim
        scales = 3 * (dim // 2)
        return tokens * (linear + scales + 2 * tokens * dim)


class GhostMlp(nn.Module):
    """`fc1` keeps the width; its activations and two scaled copies of them enter `fc2`."""

    COPIES = 2

    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear((1 + self.COPIES) * dim, dim)
        self.cheap_operation2 = ChannelScale(dim)
        self.cheap_operation3 = ChannelScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) -> (B, N, dim)."""
        x = F.gelu(self.fc1(x))
        copies = (F.gelu(cheap(x)) for cheap in (self.cheap_operation2, self.cheap_operation3))
        return self.fc2(torch.cat([x, *copies], dim=-1))

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens."""
        dim = self.fc1.in_features
        return tokens * (self.fc1.weight.numel() + self.fc2.weight.numel() + self.COPIES * dim)


def _doubled(x: Tensor, linear: nn.Linear, cheap: ChannelScale) -> Tensor:
    x = linear(x)
    return torch.cat([x, cheap(x)], dim=-1)
