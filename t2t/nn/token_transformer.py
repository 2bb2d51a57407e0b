"""T2T layer with softmax attention: quadratic in the number of tokens."""

import torch.nn.functional as F
from torch import Tensor, nn

from t2t.nn.attention_map import softmax_map
from t2t.nn.block import Mlp
from t2t.nn.soft_split import SoftSplit, split_norm_linear


class TokenAttention(nn.Module):
    """Parameters and arithmetic of single-head attention from `token_dim` to `dim` values.

    The scale is token_dim^-0.5, of the width before the projection, as in the official code.
    """

    def __init__(self, token_dim: int, dim: int):
        super().__init__()
        self.scale = token_dim**-0.5
        self.qkv = nn.Linear(token_dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, qkv: Tensor) -> Tensor:
        """Projected queries, keys, values (B, N, 3*dim) -> (B, N, dim), the values added."""
        query, key, value = qkv.unsqueeze(1).chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return value.squeeze(1) + self.proj(attended.squeeze(1))

    def attention_map(self, qkv: Tensor) -> Tensor:
        """What softmax gives for `qkv` (B, N, 3*dim), as in `forward`: (B, 1, N, N)."""
        query, key, _ = qkv.unsqueeze(1).chunk(3, dim=-1)
        return softmax_map(query, key, self.scale)


class TokenTransformer(nn.Module):
    """Soft split, then one transformer layer of width `dim` (paper equations 1 to 3, Table 1).

    The skip connection is on the values, as the tokens before attention have another width.
    """

    def __init__(self, split: SoftSplit, channels: int, dim: int):
        super().__init__()
        token_dim = split.token_dim(channels)
        self.split = split
        self.norm1 = nn.LayerNorm(token_dim)
        self.attn = TokenAttention(token_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, channels, H, W) -> tokens (B, N, dim), N the windows of the soft split."""
        x = self.attn(split_norm_linear(x, self.split, self.norm1, self.attn.qkv))
        return x + self.mlp(self.norm2(x))

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one map of `height` x `width`."""
        tokens, dim = self.split.tokens(height, width), self.attn.proj.out_features
        qkv = self.attn.qkv.in_features * 3 * dim
        attention = 2 * tokens * dim
        return tokens * (qkv + attention + dim * dim) + self.mlp.macs(tokens)
