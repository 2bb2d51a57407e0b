"""T2T-ViT-Ghost and ViT-Ghost (paper section 3.2 and Table 6).

T2T-ViT-Ghost's state-dict keys and shapes are the official ones (models/t2t_vit_ghost.py in
github.com/yitu-opensource/T2T-ViT). ViT-Ghost has no official code: it is ViT-S/16 with the same
blocks (docs/decisions/020-open-shapes-of-table-6.md).
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import nn

from t2t.nn.block import Block, drop_path_rates
from t2t.nn.ghost import GhostAttention, GhostMlp
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.scaling import scale_depth, scale_embed_dim, scale_token_dim
from t2t.nn.token_classifier import TokenClassifier
from t2t.nn.tokens_to_token import make_tokenizer


@dataclass(frozen=True)
class GhostConfig:
    """One network. `kind` "t2t_vit" has the T2T module (Performer) and fixed positions, "vit" has
    patches and learnt positions. `token_dim` and `token_dropout` are the T2T module's.

    The MLP is 3 times as wide as the tokens in its middle, by its making. `drop_path_rate` is the
    last block's, rising linearly from 0 at the first.
    """

    kind: Literal["t2t_vit", "vit"]
    embed_dim: int
    depth: int
    num_heads: int
    token_dim: int = 64
    token_dropout: float = 0.1
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same network with width and depth multiplied; heads stay."""
        return replace(
            self,
            embed_dim=scale_embed_dim(self.embed_dim, self.num_heads, width_factor),
            token_dim=scale_token_dim(self.token_dim, width_factor),
            depth=scale_depth(self.depth, depth_factor),
        )


VARIANTS: dict[str, GhostConfig] = {
    # Table 6 prints depth 14 for it; its 16.3M and 3.7G are nearer to the code's 16 than to 14.
    "t2t_vit_16_ghost": GhostConfig("t2t_vit", 384, 16, 6),
    "vit_ghost": GhostConfig("vit", 768, 8, 8),
}


class GhostViT(TokenClassifier):
    """`tokens_to_token` or `patch_embed`, then `blocks`, `norm`, `head`."""

    def __init__(self, config: GhostConfig, *, image_size: tuple[int, int], num_classes: int):
        dim = config.embed_dim
        super().__init__(
            [
                Block(dim, GhostAttention(dim, config.num_heads), GhostMlp(dim), drop_path=rate)
                for rate in drop_path_rates(config.drop_path_rate, config.depth)
            ],
            image_size=image_size,
            num_classes=num_classes,
            embed_dim=dim,
            out_dim=dim,
            position="sinusoid" if config.kind == "t2t_vit" else "learnable",
        )
        self.kind = config.kind
        if config.kind == "t2t_vit":
            self.tokens_to_token = make_tokenizer(
                "performer", config.token_dim, dim, dropout=config.token_dropout
            )
        else:
            self.patch_embed = PatchEmbed(dim)
        self.init_weights()

    @property
    def tokenizer(self) -> nn.Module:
        return self.tokens_to_token if self.kind == "t2t_vit" else self.patch_embed


build = GhostViT
