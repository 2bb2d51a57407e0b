"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382), per sample."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, sets a sample's branch to zero with probability `rate` and scales the others up.

    Written here because importing torchvision or timm for it costs every process some 3 seconds.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...); the mean over draws is `x`."""
        if self.rate == 0.0 or not self.training:
            return x
        kept = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(kept)
        return x * mask.div_(kept)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
