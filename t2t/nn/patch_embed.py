"""Hard split: the image cut into patches that do not overlap, as in ViT."""

from collections.abc import Sequence

from torch import Tensor, nn

from t2t.errors import ConfigError

PATCH = 16


def height_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """A side, or height and width, in pixels, as (height, width).

    Raises:
        ConfigError: a side is not a multiple of 16, which every network's tokens need.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < PATCH or height % PATCH or width % PATCH:
        raise ConfigError(
            f"image_size is {height} x {width}: each side must be a multiple of {PATCH}"
        )
    return height, width


class PatchEmbed(nn.Module):
    """A linear map of each 16 x 16 patch, written as the convolution it is."""

    def __init__(self, embed_dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, H/16 * W/16, embed_dim)."""
        return self.proj(x).flatten(2).transpose(1, 2)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one image of `height` x `width`."""
        return (height // PATCH) * (width // PATCH) * self.proj.weight.numel()
