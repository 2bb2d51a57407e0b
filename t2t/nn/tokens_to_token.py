"""From an image to tokens, one per 16 x 16 pixels: the T2T module and what it is compared with."""

from typing import Literal

import torch
from torch import Tensor, nn

from t2t.nn.counting import macs_of
from t2t.nn.patch_embed import PatchEmbed
from t2t.nn.soft_split import SoftSplit, split_linear, to_map
from t2t.nn.token_performer import TokenPerformer
from t2t.nn.token_transformer import TokenTransformer

TokensType = Literal["performer", "transformer", "convolution", "patch"]

# Paper Table 1: windows 7, 3, 3 that overlap by 3, 1, 1.
SPLITS = (SoftSplit(7, 4, 2, of_pixels=True), SoftSplit(3, 2, 1), SoftSplit(3, 2, 1))


class TokensToToken(nn.Module):
    """Three soft splits with two T2T layers between them, then a projection (paper Figure 3).

    Without gradients a CPU takes the images of a batch in turns of `pixels_at_once`: what stands
    between the layers then fits its cache, and peak memory does not grow with the batch. None
    takes them all at once.
    """

    pixels_at_once: int | None = 2 * 224 * 224

    def __init__(self, layer1: nn.Module, layer2: nn.Module, token_dim: int, embed_dim: int):
        super().__init__()
        self.attention1 = layer1
        self.attention2 = layer2
        self.project = nn.Linear(SPLITS[2].token_dim(token_dim), embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, H/16 * W/16, embed_dim)."""
        in_turns = x.device.type == "cpu" and not torch.is_grad_enabled()
        if self.pixels_at_once is None or not in_turns or torch.compiler.is_compiling():
            return self._tokens(x)
        images = max(1, self.pixels_at_once // x[0, 0].numel())
        return torch.cat([self._tokens(part) for part in x.split(images)])

    def _tokens(self, x: Tensor) -> Tensor:
        for split, layer in zip(SPLITS, (self.attention1, self.attention2), strict=False):
            x = to_map(layer(x), split.grid(*x.shape[-2:]))
        return split_linear(x, SPLITS[2], self.project)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one image of `height` x `width`."""
        total, size = 0, (height, width)
        for split, layer in zip(SPLITS, (self.attention1, self.attention2), strict=False):
            total += macs_of(layer, *size)
            size = split.grid(*size)
        return total + SPLITS[2].tokens(*size) * self.project.weight.numel()


class ConvTokens(nn.Module):
    """Three convolutions in the place of the T2T module (T2T-ViT_c, paper section 4.3, Table 7).

    Windows and strides are those of the soft splits, and nothing stands between the convolutions.
    """

    def __init__(self, token_dim: int, embed_dim: int):
        super().__init__()
        self.soft_split0 = _conv(SPLITS[0], 3, token_dim)
        self.soft_split1 = _conv(SPLITS[1], token_dim, token_dim)
        self.project = _conv(SPLITS[2], token_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, H/16 * W/16, embed_dim)."""
        x = self.project(self.soft_split1(self.soft_split0(x)))
        return x.flatten(2).transpose(1, 2)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one image of `height` x `width`."""
        total, size = 0, (height, width)
        convolutions = (self.soft_split0, self.soft_split1, self.project)
        for split, convolution in zip(SPLITS, convolutions, strict=True):
            size = split.grid(*size)
            total += size[0] * size[1] * convolution.weight.numel()
        return total


def make_tokenizer(
    tokens_type: TokensType, token_dim: int, embed_dim: int, *, dropout: float = 0.1
) -> TokensToToken | ConvTokens | PatchEmbed:
    """The module that turns an image into tokens (paper Table 7, rows of the T2T module).

    `dropout` is the Performer layers' own; no other kind has any.
    """
    if tokens_type == "convolution":
        return ConvTokens(token_dim, embed_dim)
    if tokens_type == "patch":
        return PatchEmbed(embed_dim)

    def layer(split: SoftSplit, channels: int) -> nn.Module:
        if tokens_type == "performer":
            return TokenPerformer(split, channels, token_dim, dropout=dropout)
        return TokenTransformer(split, channels, token_dim)

    return TokensToToken(layer(SPLITS[0], 3), layer(SPLITS[1], token_dim), token_dim, embed_dim)


def _conv(split: SoftSplit, channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, split.kernel, split.stride, split.padding)
