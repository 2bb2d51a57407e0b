"""T2T-ViT-Dense and ViT-Dense (paper section 3.2 and Table 6).

T2T-ViT-Dense's state-dict keys and shapes are the official ones (models/t2t_vit_dense.py in
github.com/yitu-opensource/T2T-ViT), and so is its stochastic depth: a ramp as if of 12 blocks,
entered with the number of the stage. ViT-Dense has no official code and its shape cannot be known:
this one is our choice (docs/decisions/021-vit-dense.md).
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import nn

from t2t.nn.attention import Attention
from t2t.nn.block import Mlp, drop_path_rates
from t2t.nn.dense import DenseBlock, Transition
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.scaling import scale_depth, scale_embed_dim, scale_token_dim
from t2t.nn.token_classifier import TokenClassifier
from t2t.nn.tokens_to_token import make_tokenizer

DROP_PATH_RAMP = 12


@dataclass(frozen=True)
class DenseConfig:
    """One network. `kind` "t2t_vit" has the T2T module (Performer) and fixed positions, "vit" has
    patches and learnt positions. `token_dim` and `token_dropout` are the T2T module's.

    Each block adds `growth` channels to the `embed_dim` it starts with; between stages of
    `stage_depths` blocks the width is halved.
    """

    kind: Literal["t2t_vit", "vit"]
    embed_dim: int
    growth: int
    stage_depths: tuple[int, ...]
    num_heads: int
    mlp_ratio: float
    token_dim: int = 64
    token_dropout: float = 0.1
    drop_path_rate: float = 0.0

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same network with widths and depths multiplied; heads, ratio and stages stay."""
        return replace(
            self,
            embed_dim=scale_embed_dim(self.embed_dim, self.num_heads, width_factor),
            growth=scale_embed_dim(self.growth, self.num_heads, width_factor),
            token_dim=scale_token_dim(self.token_dim, width_factor),
            stage_depths=tuple(scale_depth(depth, depth_factor) for depth in self.stage_depths),
        )


VARIANTS: dict[str, DenseConfig] = {
    "t2t_vit_dense": DenseConfig("t2t_vit", 128, 64, (3, 6, 6, 4), 8, 2.0),
    "vit_dense": DenseConfig("vit", 128, 64, (6, 7, 6), 8, 4.0),
}


class DenseViT(TokenClassifier):
    """`tokens_to_token` or `patch_embed`, then `blocks` with transitions, `norm`, `head`."""

    def __init__(self, config: DenseConfig, *, image_size: tuple[int, int], num_classes: int):
        blocks, out_dim = _blocks(config)
        super().__init__(
            blocks,
            image_size=image_size,
            num_classes=num_classes,
            embed_dim=config.embed_dim,
            out_dim=out_dim,
            position="sinusoid" if config.kind == "t2t_vit" else "learnable",
        )
        self.kind = config.kind
        if config.kind == "t2t_vit":
            self.tokens_to_token = make_tokenizer(
                "performer", config.token_dim, config.embed_dim, dropout=config.token_dropout
            )
        else:
            self.patch_embed = PatchEmbed(config.embed_dim)
        self.init_weights()

    @property
    def tokenizer(self) -> nn.Module:
        return self.tokens_to_token if self.kind == "t2t_vit" else self.patch_embed


def _blocks(config: DenseConfig) -> tuple[list[nn.Module], int]:
    """Every stage's blocks with the transitions between stages, and the width after the last."""
    rates = drop_path_rates(config.drop_path_rate, DROP_PATH_RAMP)
    blocks: list[nn.Module] = []
    dim, heads = config.embed_dim, config.num_heads
    for stage, depth in enumerate(config.stage_depths):
        if stage:
            narrow = dim // 2 // heads * heads  # whole heads, which a shrunk network may lack
            blocks.append(Transition(dim, narrow))
            dim = narrow
        for _ in range(depth):
            mlp = Mlp(dim, int(dim * config.mlp_ratio))
            attn = Attention(dim, heads)
            blocks.append(DenseBlock(dim, config.growth, attn, mlp, drop_path=rates[stage]))
            dim += config.growth
    return blocks, dim


build = DenseViT
