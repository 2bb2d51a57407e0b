"""The transformer block of the backbones: attention and MLP, each after a LayerNorm."""

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from t2t.nn.counting import macs_of
from t2t.nn.drop_path import DropPath


class Mlp(nn.Module):
    """Linear, GELU, Linear.

    With `recompute` the activation is not kept for the backward pass, which computes it again.
    """

    def __init__(self, dim: int, hidden_dim: int, *, recompute: bool = False):
        super().__init__()
        self.recompute = recompute
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) -> (B, N, dim)."""
        x = self.fc1(x)
        # A compiler decides by itself what to compute again.
        if self.recompute and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return self._without_keeping_activations(x)
        return self.fc2(self.act(x))

    def _without_keeping_activations(self, x: Tensor) -> Tensor:
        """fc2(act(x)), where what fc2 wants to keep of act(x) is made anew from x, kept anyway."""
        activated = self.act(x)
        address = activated.data_ptr()  # the hooks live as long as the graph, and hold no tensor

        def pack(kept: Tensor) -> Tensor | torch.Size:
            return kept.shape if kept.data_ptr() == address else kept

        def unpack(kept: Tensor | torch.Size) -> Tensor:
            return kept if isinstance(kept, Tensor) else self.act(x.detach()).view(kept)

        with saved_tensors_hooks(pack, unpack):
            return self.fc2(activated)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens."""
        return tokens * (self.fc1.weight.numel() + self.fc2.weight.numel())


class Block(nn.Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)) (paper equation 4), for any `attn` and `mlp`.

    `attn` is called as attn(x, cls_only), `mlp` acts on each token alone, and both have
    `macs(tokens)`. `drop_path` is the probability with which a sample skips a branch in training.
    """

    def __init__(
        self,
        dim: int,
        attn: nn.Module,
        mlp: nn.Module,
        *,
        drop_path: float = 0.0,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = attn
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = mlp

    def forward(self, x: Tensor, cls_only: bool = False) -> Tensor:
        """(B, N, dim) -> (B, N, dim), or (B, 1, dim), the class token's row, with `cls_only`."""
        attended = self.attn(self.norm1(x), cls_only)
        x = (x[:, :1] if cls_only else x) + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates for `tokens` tokens, all of them carried to the end."""
        return macs_of(self.attn, tokens) + macs_of(self.mlp, tokens)


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Stochastic depth rising linearly from 0 in the first block to `rate` in the last."""
    return [rate * i / max(1, depth - 1) for i in range(depth)]
