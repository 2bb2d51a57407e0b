"""Dead and saturated channels of token features, as the paper's Figure 2 marks them in red.

The paper gives no definition beyond "zero or too large values". Here a channel is one of the width
of the tokens after a block, looked at over all images and all tokens (the class token too), and
compared with the layer's typical size: the median over its channels of their root mean square.
"""

import torch
from torch import Tensor

# Dead: no value of the channel, in any image or token, reaches this share of the typical size.
DEAD_BELOW = 0.05
# Saturated: the channel's root mean square is above this many times the typical size.
SATURATED_ABOVE = 5.0


class ChannelSizes:
    """The sizes of a layer's channels, taken in batch by batch."""

    def __init__(self) -> None:
        self._squares: Tensor | float = 0.0
        self._peak: Tensor = torch.zeros(())
        self._tokens = 0

    def add(self, features: Tensor) -> None:
        """Takes the features of some images, (B, N, channels)."""
        lines = features.double().flatten(0, 1).cpu()
        self._squares = self._squares + lines.square().sum(0)
        self._peak = torch.maximum(self._peak, lines.abs().amax(0))
        self._tokens += len(lines)

    def rms(self) -> Tensor:
        """Root mean square of each channel, (channels,)."""
        return (torch.as_tensor(self._squares) / self._tokens).sqrt()

    def dead(self) -> Tensor:
        """Which channels are dead, (channels,) bool."""
        return self._peak <= DEAD_BELOW * self.rms().median()

    def saturated(self) -> Tensor:
        """Which channels are saturated, (channels,) bool."""
        return self.rms() > SATURATED_ABOVE * self.rms().median()
