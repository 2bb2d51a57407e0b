"""Tokens-to-Token ViT (Yuan et al., ICCV 2021, arXiv 2101.11986), Tables 1, 6 and 7.

    image -> T2T module -> N = H/16 * W/16 tokens -> deep-narrow transformer -> logits

State-dict keys and shapes are the released ones (github.com/yitu-opensource/T2T-ViT,
models/t2t_vit.py and t2t_vit_se.py), so its checkpoints load. Attention is scaled by
head_dim^-0.5 throughout the backbone; the official `pretrained=True`, which changes the scale and
loads nothing, has no counterpart.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import nn

from t2t.nn.attention import Attention, SEAttention
from t2t.nn.block import Block, Mlp, drop_path_rates
from t2t.nn.scaling import scale_depth, scale_embed_dim, scale_token_dim
from t2t.nn.token_classifier import TokenClassifier
from t2t.nn.tokens_to_token import TokensType, make_tokenizer


@dataclass(frozen=True)
class T2TViTConfig:
    """One network. `token_dim` is the width inside the T2T module, `token_dropout` its dropout.

    `token_dropout` concerns Performer layers only, which have it whatever the recipe says.
    `drop_path_rate` is the recipe's: the last block's, rising linearly from 0 at the first.
    `recompute` saves training memory: the T2T module and the activations of the MLPs, cheap beside
    the rest, are computed again in the backward pass.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    tokens_type: TokensType = "performer"
    attention: Literal["plain", "se"] = "plain"
    token_dim: int = 64
    token_dropout: float = 0.1
    drop_path_rate: float = 0.0
    recompute: bool = False

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same network with width and depth multiplied; heads and ratios stay."""
        return replace(
            self,
            embed_dim=scale_embed_dim(self.embed_dim, self.num_heads, width_factor),
            token_dim=scale_token_dim(self.token_dim, width_factor),
            depth=scale_depth(self.depth, depth_factor),
        )


VARIANTS: dict[str, T2TViTConfig] = {
    # Table 4 and, for 10, the official repository alone. Table 1 prints depth 8 for 7; the size
    # it prints, 4.2M, is that of depth 7.
    "t2t_vit_7": T2TViTConfig(256, 7, 4, 2.0),
    "t2t_vit_10": T2TViTConfig(256, 10, 4, 2.0),
    "t2t_vit_12": T2TViTConfig(256, 12, 4, 2.0),
    # Table 1.
    "t2t_vit_14": T2TViTConfig(384, 14, 6, 3.0),
    "t2t_vit_19": T2TViTConfig(448, 19, 7, 3.0),
    "t2t_vit_24": T2TViTConfig(512, 24, 8, 3.0),
    "t2t_vit_t_14": T2TViTConfig(384, 14, 6, 3.0, tokens_type="transformer"),
    "t2t_vit_t_19": T2TViTConfig(448, 19, 7, 3.0, tokens_type="transformer"),
    "t2t_vit_t_24": T2TViTConfig(512, 24, 8, 3.0, tokens_type="transformer"),
    # Table 7, T2T module. The paper gives 21.1M without T2T; this is 21.4M.
    "t2t_vit_c_14": T2TViTConfig(384, 14, 6, 3.0, tokens_type="convolution"),
    "t2t_vit_14_wo_t2t": T2TViTConfig(384, 14, 6, 3.0, tokens_type="patch"),
    # Table 6, and Table 7's "T2T-ViT-d768-4". Table 6 prints depth 14 for it; the code has 4.
    "t2t_vit_14_wide": T2TViTConfig(768, 4, 12, 3.0),
    "t2t_vit_14_resnext": T2TViTConfig(384, 14, 32, 3.0),
    "t2t_vit_14_se": T2TViTConfig(384, 14, 6, 3.0, attention="se"),
}


class T2TViT(TokenClassifier):
    """T2T-ViT: `tokens_to_token`, `blocks`, `norm`, `head`, and a fixed sinusoid for positions."""

    def __init__(self, config: T2TViTConfig, *, image_size: tuple[int, int], num_classes: int):
        dim = config.embed_dim
        attention = {"plain": Attention, "se": SEAttention}[config.attention]
        super().__init__(
            [
                Block(
                    dim,
                    attention(dim, config.num_heads),
                    Mlp(dim, int(dim * config.mlp_ratio), recompute=config.recompute),
                    drop_path=rate,
                )
                for rate in drop_path_rates(config.drop_path_rate, config.depth)
            ],
            image_size=image_size,
            num_classes=num_classes,
            embed_dim=dim,
            out_dim=dim,
            position="sinusoid",
            recompute_tokenizer=config.recompute,
        )
        self.tokens_to_token = make_tokenizer(
            config.tokens_type, config.token_dim, dim, dropout=config.token_dropout
        )
        self.init_weights()

    @property
    def tokenizer(self) -> nn.Module:
        return self.tokens_to_token


build = T2TViT
