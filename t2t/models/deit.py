"""DeiT-S, with and without the distillation token (Touvron et al. 2021, arXiv 2012.12877).

Paper Table 2. Keys and sizes are those of deit_small_patch16_224 and
deit_small_distilled_patch16_224 in github.com/facebookresearch/deit. The second has a head
for the answers of a teacher; without one, both of its heads learn from the labels.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from t2t.errors import ConfigError
from t2t.nn.attention import Attention
from t2t.nn.block import Block, Mlp, drop_path_rates
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.scaling import scale_depth, scale_embed_dim
from t2t.nn.token_classifier import TokenClassifier

NORM_EPS = 1e-6


@dataclass(frozen=True)
class DeiTConfig:
    """One network. `drop_path_rate` is the last block's, rising linearly from 0 at the first."""

    embed_dim: int
    depth: int
    num_heads: int
    distilled: bool
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same network with width and depth multiplied; heads and ratios stay."""
        return replace(
            self,
            embed_dim=scale_embed_dim(self.embed_dim, self.num_heads, width_factor),
            depth=scale_depth(self.depth, depth_factor),
        )


VARIANTS: dict[str, DeiTConfig] = {
    "deit_small": DeiTConfig(384, 12, 6, distilled=False),
    "deit_small_distilled": DeiTConfig(384, 12, 6, distilled=True),
}


class DeiT(TokenClassifier):
    """ViT with biases on queries, keys and values; where distilled, a second token and head."""

    def __init__(self, config: DeiTConfig, *, image_size: tuple[int, int], num_classes: int):
        dim = config.embed_dim
        super().__init__(
            [
                Block(
                    dim,
                    Attention(dim, config.num_heads, qkv_bias=True),
                    Mlp(dim, int(dim * config.mlp_ratio)),
                    drop_path=rate,
                    norm_eps=NORM_EPS,
                )
                for rate in drop_path_rates(config.drop_path_rate, config.depth)
            ],
            image_size=image_size,
            num_classes=num_classes,
            embed_dim=dim,
            out_dim=dim,
            position="learnable",
            norm_eps=NORM_EPS,
            extra_tokens=int(config.distilled),
        )
        self.patch_embed = PatchEmbed(dim)
        self.dist_token = nn.Parameter(torch.empty(1, 1, dim)) if config.distilled else None
        self.head_dist = nn.Linear(dim, num_classes) if config.distilled else None
        self.init_weights()
        if self.dist_token is not None:
            nn.init.trunc_normal_(self.dist_token, std=0.02)

    @property
    def tokenizer(self) -> nn.Module:
        return self.patch_embed

    def first_tokens(self) -> Tensor:
        """The class token and, where distilled, the distillation token: (1, 1 or 2, embed_dim)."""
        if self.dist_token is None:
            return self.cls_token
        return torch.cat([self.cls_token, self.dist_token], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised, -> logits (B, num_classes), the mean of two heads'
        where distilled.

        Raises:
            ConfigError: the images are not of the size that the network was made for.
        """
        if self.head_dist is None:
            return super().forward(x)
        return self.forward_heads(x).mean(1)

    def forward_heads(self, x: Tensor) -> Tensor:
        """Images -> each head's own logits, (B, 2, num_classes), the class token's first.

        Raises:
            ConfigError: the network has one head, or the images are not of its size.
        """
        if self.head_dist is None:
            raise ConfigError("this DeiT has one head: create it with distilled=True")
        cls, dist = self.forward_features(x)[:, :2].unbind(1)
        return torch.stack([self.head(cls), self.head_dist(dist)], dim=1)

    def macs(self) -> int:
        """Multiply-accumulates for one image, every block counted for every token."""
        return super().macs() + (0 if self.head_dist is None else self.head_dist.weight.numel())


build = DeiT
