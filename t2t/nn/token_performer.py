"""T2T layer with Performer attention: linear in the number of tokens."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.precision import widen, without_autocast
from t2t.nn.soft_split import SoftSplit, split_norm_linear

KERNEL_RATIO = 0.5
EPSILON = 1e-8


class TokenPerformer(nn.Module):
    """Soft split, then one Performer layer of width `dim` (paper section 3.1, Table 1).

    Keys and queries go through m = dim/2 positive random features
    phi(x) = exp(w x - |x|^2 / 2) / sqrt(m), with `w` a fixed orthogonal matrix whose rows have
    length sqrt(m). The skip connection is on the values, as the tokens before attention have
    another width. `kqv` holds keys, queries, values in this order, with a bias.
    """

    def __init__(self, split: SoftSplit, channels: int, dim: int, *, dropout: float = 0.1):
        super().__init__()
        token_dim = split.token_dim(channels)
        features = int(dim * KERNEL_RATIO)
        self.split = split
        self.dim = dim
        self.norm1 = nn.LayerNorm(token_dim)
        self.kqv = nn.Linear(token_dim, 3 * dim)
        self.w = nn.Parameter(torch.empty(features, dim), requires_grad=False)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.Dropout(dropout)
        )
        nn.init.orthogonal_(self.w, gain=math.sqrt(features))

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, channels, H, W) -> tokens (B, N, dim), N the windows of the soft split."""
        kqv = split_norm_linear(x, self.split, self.norm1, self.kqv)
        with without_autocast(kqv):  # the features reach e^(m/2) = e^16, too far for float16
            attended = self._attend(widen(kqv)).to(kqv.dtype)
        y = kqv[..., 2 * self.dim :] + self.dropout(attended)
        return y + self.mlp(self.norm2(y))

    def _attend(self, kqv: Tensor) -> Tensor:
        """Attention and `proj`, which is applied to the (m, dim) summary rather than per token."""
        keys, queries, values = kqv.split(self.dim, dim=-1)
        keys, queries = self._features(keys), self._features(queries)
        summary = (keys.mT @ values) @ widen(self.proj.weight).mT
        mass = queries @ keys.sum(1).unsqueeze(-1)
        return torch.addcdiv(widen(self.proj.bias), queries @ summary, mass + EPSILON)

    def _features(self, x: Tensor) -> Tensor:
        """phi of keys or queries: (B, N, dim) -> (B, N, m)."""
        log_scale = x.square().sum(-1, keepdim=True) / 2 + math.log(len(self.w)) / 2
        return torch.exp(F.linear(x, widen(self.w)) - log_scale)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one map of `height` x `width`, as the paper defines the layer.

        Every product of the definition counts, `proj` once per token included.
        """
        features, dim = self.w.shape
        kernel = 2 * features * dim + 2 * features * dim + features
        per_token = self.kqv.in_features * 3 * dim + kernel + 3 * dim * dim
        return self.split.tokens(height, width) * per_token
