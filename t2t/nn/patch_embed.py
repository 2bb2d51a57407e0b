"""Hard split: the image cut into patches that do not overlap, as in ViT."""

from torch import Tensor, nn

PATCH = 16


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
