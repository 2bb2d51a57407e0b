"""What every token network shares: class token, positions, blocks, final norm, head."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t2t.errors import ConfigError
from t2t.nn.counting import macs_of
from t2t.nn.patch_embed import PATCH
from t2t.nn.position import sinusoid


class TokenClassifier(nn.Module):
    """Image -> tokens -> [class token; tokens] + positions -> blocks -> norm -> head.

    A subclass adds its `tokenizer` under its own name, then calls `init_weights`. Each block is
    called as block(x, cls_only) and has `macs(tokens)`. `position="sinusoid"` is fixed (T2T-ViT),
    `"learnable"` is trained (ViT). `out_dim` is the width after the last block. With
    `recompute_tokenizer` the tokenizer's activations are not kept for the backward pass, which
    runs it a second time. `extra_tokens` counts those that `first_tokens` gives beside the class
    token.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        *,
        image_size: tuple[int, int],
        num_classes: int,
        embed_dim: int,
        out_dim: int,
        position: Literal["sinusoid", "learnable"],
        norm_eps: float = 1e-5,
        recompute_tokenizer: bool = False,
        extra_tokens: int = 0,
    ):
        super().__init__()
        self.image_size = image_size
        self.recompute_tokenizer = recompute_tokenizer
        length = 1 + extra_tokens + (image_size[0] // PATCH) * (image_size[1] // PATCH)
        fixed = position == "sinusoid"
        table = sinusoid(length, embed_dim) if fixed else torch.empty(1, length, embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(table, requires_grad=not fixed)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(out_dim, eps=norm_eps)
        self.head = nn.Linear(out_dim, num_classes)

    def init_weights(self) -> None:
        """Truncated normals of deviation 0.02 for linear layers, class token, learnt positions.

        Biases are zero; norms and convolutions keep PyTorch's defaults, as the official code does.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        if self.pos_embed.requires_grad:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)

    @property
    def tokenizer(self) -> nn.Module:
        """The module from images (B, 3, H, W) to tokens (B, N, embed_dim)."""
        raise NotImplementedError

    def first_tokens(self) -> Tensor:
        """What stands before the image's tokens: (1, 1, embed_dim), the class token."""
        return self.cls_token

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised, -> logits (B, num_classes).

        The last block computes the class token alone, as the head reads nothing else; use
        `forward_features` where other tokens of it are wanted.

        Raises:
            ConfigError: the images are not of the size that the network was made for.
        """
        return self.head(self._encode(x, cls_only=True)[:, 0])

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> normalised tokens (B, 1 + N, out_dim), the class token first.

        Raises:
            ConfigError: the images are not of the size that the network was made for.
        """
        return self._encode(x, cls_only=False)

    def _encode(self, x: Tensor, cls_only: bool) -> Tensor:
        if tuple(x.shape[-2:]) != self.image_size:
            raise ConfigError(
                f"images of {x.shape[-2]} x {x.shape[-1]} pixels given to a network made for "
                f"{self.image_size[0]} x {self.image_size[1]}: create it with that image_size"
            )
        if self.recompute_tokenizer and torch.is_grad_enabled():
            x = cast(Tensor, checkpoint(self.tokenizer, x, use_reentrant=False))
        else:
            x = self.tokenizer(x)
        x = torch.cat([self.first_tokens().expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = block(x, cls_only and i == last)
        return self.norm(x)

    def macs(self) -> int:
        """Multiply-accumulates for one image, as the paper defines the network.

        Products inside attention count; every block counts for every token, though `forward`
        computes less.
        """
        tokens = self.pos_embed.shape[1]
        blocks = sum(macs_of(block, tokens) for block in self.blocks)
        return macs_of(self.tokenizer, *self.image_size) + blocks + self.head.weight.numel()
