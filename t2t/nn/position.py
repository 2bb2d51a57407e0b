"""Position embeddings."""

import torch
from torch import Tensor


def sinusoid(positions: int, dim: int) -> Tensor:
    """Fixed position embedding, (1, positions, dim) in float32 ("Attention is all you need", 3.5).

    Channel 2i is sin(p / 10000^(2i/dim)) and channel 2i+1 the cosine; position 0 is the class
    token's.
    """
    channel = torch.arange(dim, dtype=torch.float64)
    wavelength = 10000.0 ** (2 * (channel // 2) / dim)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / wavelength
    table = torch.where(channel.long() % 2 == 0, angle.sin(), angle.cos())
    return table.float().unsqueeze(0)
