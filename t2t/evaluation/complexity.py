"""Size and cost of a network: the Params and MACs columns of the paper's tables."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t2t.errors import ConfigError
from t2t.nn.counting import macs_of
from t2t.nn.patch_embed import height_width
from t2t.nn.token_classifier import TokenClassifier


@dataclass(frozen=True)
class Complexity:
    """Parameters of a network, and multiply-accumulates for one image.

    `params` holds frozen ones too (fixed positions, the Performer's `w`), which the paper's
    column leaves out or not from row to row; `params_trainable` does not.
    """

    params: int
    params_trainable: int
    macs: int


def complexity(model: nn.Module, image_size: int | Sequence[int]) -> Complexity:
    """Counts for one image of `image_size`: a side, or (height, width), in pixels.

    MACs are those of the network's definition, every matrix product included: 4.783 G for
    T2T-ViT-14 at 224 (paper Table 1: 4.8). Token networks state theirs, since their forward pass
    computes less than the definition says; another network is counted by running it on the meta
    device.

    Raises:
        ConfigError: a side is not a multiple of 16, or a token network was made for another size.
    """
    parameters = list(model.parameters())
    return Complexity(
        params=sum(p.numel() for p in parameters),
        params_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=_macs(model, height_width(image_size)),
    )


def _macs(model: nn.Module, image_size: tuple[int, int]) -> int:
    if isinstance(model, TokenClassifier):
        if model.image_size != image_size:
            raise ConfigError(
                f"complexity at {image_size} of a network made for {model.image_size}: "
                "create it with that image_size"
            )
        return macs_of(model)
    clone = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        clone(torch.empty(1, 3, *image_size, device="meta"))
    return counter.get_total_flops() // 2
