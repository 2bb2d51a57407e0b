"""Multi-head self-attention of the backbones, and the gate that SE puts after it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.errors import ConfigError
from t2t.nn.attention_map import softmax_map


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, N, dim) -> (B, heads, N, dim/heads)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def multi_head(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """softmax(Q K^T * head_dim^-0.5) V in each head.

    Queries (B, Nq, dim), keys and values (B, N, dim) -> (B, Nq, dim).
    """
    query, key, value = (split_heads(x, num_heads) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """softmax(Q K^T * head_dim^-0.5) V, then `proj` (paper equation 1).

    With `cls_only` it computes the class token's row alone. The result is the same, as rows do not
    depend on each other; and one query needs no token's key or value: q (W_k x) = (q W_k) x, and
    the mean of the values is W_v of the mean of the tokens, both weighted by the softmax.

    Raises:
        ConfigError: `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = False):
        super().__init__()
        if dim % num_heads:
            raise ConfigError(
                f"attention of width {dim} in {num_heads} heads: the width must be a multiple of "
                "the number of heads"
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, dim), or (B, 1, dim) with `cls_only`."""
        if not cls_only:
            return self.proj(self._attend(*self.qkv(x).chunk(3, dim=-1)))
        return self.proj(self._attend_for_first(x))

    def _attend_for_first(self, x: Tensor) -> Tensor:
        """The first token's row of the attention, before `proj`: (B, N, dim) -> (B, 1, dim)."""
        query_weight, key_weight, value_weight = self.qkv.weight.chunk(3)
        query_bias, _, value_bias = (None,) * 3 if self.qkv.bias is None else self.qkv.bias.chunk(3)
        query = F.linear(x[:, 0], query_weight, query_bias).unflatten(-1, (self.num_heads, -1))
        key_weight, value_weight = (
            weight.unflatten(0, (self.num_heads, -1)) for weight in (key_weight, value_weight)
        )
        # The key's bias adds the same to every score, which softmax does not see.
        probe = torch.einsum("bhd,hdc->bhc", query * query.shape[-1] ** -0.5, key_weight)
        shares = (probe @ x.mT).softmax(-1)
        attended = torch.einsum("bhc,hdc->bhd", shares @ x, value_weight).flatten(1)
        return (attended if value_bias is None else attended + value_bias).unsqueeze(1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return multi_head(query, key, value, self.num_heads)

    def attention_map(self, x: Tensor) -> Tensor:
        """What softmax gives for `x` (B, N, dim): (B, heads, N, N)."""
        query, key, _ = (split_heads(y, self.num_heads) for y in self.qkv(x).chunk(3, dim=-1))
        return softmax_map(query, key, query.shape[-1] ** -0.5)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens, all of them queries."""
        dim = self.proj.in_features
        return tokens * (self.qkv.weight.numel() + 2 * tokens * dim + dim * dim)


class SqueezeExcitation(nn.Module):
    """A gate per channel, from the mean over the tokens (SENet; paper section 3.2, T2T-ViT-SE)."""

    REDUCTION = 16

    def __init__(self, dim: int):
        super().__init__()
        hidden = max(1, dim // self.REDUCTION)
        self.fc = nn.Sequential(
            nn.Linear(dim, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, dim, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, mean: Tensor) -> Tensor:
        """Token means (B, 1, dim) -> gates in (0, 1), (B, 1, dim)."""
        return self.fc(mean)

    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(m.weight.numel() for m in self.fc if isinstance(m, nn.Linear))


class SEAttention(Attention):
    """Attention whose output channels are gated by squeeze and excitation."""

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = False):
        super().__init__(dim, num_heads, qkv_bias=qkv_bias)
        self.se_layer = SqueezeExcitation(dim)

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, dim), or (B, 1, dim) with `cls_only`."""
        attended = self._attend(*self.qkv(x).chunk(3, dim=-1))
        if not cls_only:
            y = self.proj(attended)
            return y * self.se_layer(y.mean(1, keepdim=True))
        # `proj` is affine, so the mean of its outputs is its output for the mean.
        pair = torch.cat([attended[:, :1], attended.mean(1, keepdim=True)], dim=1)
        cls, mean = self.proj(pair).split(1, dim=1)
        return cls * self.se_layer(mean)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens, all of them queries."""
        return super().macs(tokens) + self.se_layer.macs()
