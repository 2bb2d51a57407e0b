"""ViT as the paper's baselines have it (Dosovitskiy et al., ICLR 2021; paper Tables 1, 2 and 6).

State-dict keys are those of timm's VisionTransformer, and sizes those of models/vit.py in
github.com/yitu-opensource/T2T-ViT. Attention is scaled by head_dim^-0.5 in every variant. The
official file scales ViT-S by 768^-0.5 when asked for pretrained weights, of which it has none: a
network trained from scratch never had that scale.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import nn

from t2t.nn.attention import Attention, SEAttention
from t2t.nn.block import Block, Mlp, drop_path_rates
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.scaling import scale_depth, scale_embed_dim
from t2t.nn.token_classifier import TokenClassifier


@dataclass(frozen=True)
class ViTConfig:
    """One network. `drop_path_rate` is the last block's, rising linearly from 0 at the first."""

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    qkv_bias: bool
    norm_eps: float
    attention: Literal["plain", "se"] = "plain"
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same network with width and depth multiplied; heads and ratios stay."""
        return replace(
            self,
            embed_dim=scale_embed_dim(self.embed_dim, self.num_heads, width_factor),
            depth=scale_depth(self.depth, depth_factor),
        )


VARIANTS: dict[str, ViTConfig] = {
    # Table 1, whose widths 786 and 2358 are misprints for 768 and 2304.
    "vit_small": ViTConfig(768, 8, 8, 3.0, qkv_bias=False, norm_eps=1e-5),
    "vit_base": ViTConfig(768, 12, 12, 4.0, qkv_bias=True, norm_eps=1e-6),
    "vit_large": ViTConfig(1024, 24, 16, 4.0, qkv_bias=True, norm_eps=1e-6),
    # Table 6, designs of CNNs brought to ViT-S: deep-narrow, shallow-wide, SE, ResNeXt. The paper
    # leaves their MLP ratios and heads open (docs/decisions/020-open-shapes-of-table-6.md).
    "vit_dn": ViTConfig(384, 16, 6, 3.0, qkv_bias=False, norm_eps=1e-5),
    "vit_sw": ViTConfig(1024, 4, 16, 3.5, qkv_bias=False, norm_eps=1e-5),
    "vit_se": ViTConfig(768, 8, 8, 3.0, qkv_bias=False, norm_eps=1e-5, attention="se"),
    "vit_resnext": ViTConfig(768, 8, 32, 3.0, qkv_bias=False, norm_eps=1e-5),
}


class ViT(TokenClassifier):
    """ViT: `patch_embed`, `blocks`, `norm`, `head`, and a learnt position embedding."""

    def __init__(self, config: ViTConfig, *, image_size: tuple[int, int], num_classes: int):
        dim = config.embed_dim
        attention = {"plain": Attention, "se": SEAttention}[config.attention]
        super().__init__(
            [
                Block(
                    dim,
                    attention(dim, config.num_heads, qkv_bias=config.qkv_bias),
                    Mlp(dim, int(dim * config.mlp_ratio)),
                    drop_path=rate,
                    norm_eps=config.norm_eps,
                )
                for rate in drop_path_rates(config.drop_path_rate, config.depth)
            ],
            image_size=image_size,
            num_classes=num_classes,
            embed_dim=dim,
            out_dim=dim,
            position="learnable",
            norm_eps=config.norm_eps,
        )
        self.patch_embed = PatchEmbed(dim)
        self.init_weights()

    @property
    def tokenizer(self) -> nn.Module:
        return self.patch_embed


build = ViT
