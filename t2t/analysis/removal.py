"""What a network loses when one of its heads is removed, head by head."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.analysis.heads import (
    AttentionLayer,
    attention_layers,
    inputs_of,
    token_classifier,
    without_head,
)
from t2t.nn.token_classifier import TokenClassifier


@dataclass(frozen=True)
class Removal:
    """Figures over `images` images: of the whole network, and of it without one head each.

    drop_pct[i][h]: points of top-1 lost without head h of layer i, negative where that helps;
    loss_rise[i][h]: by how much the mean cross-entropy grows, a finer measure where few answers
    change.
    """

    images: int
    top1_pct: float
    loss: float
    drop_pct: list[list[float]]
    loss_rise: list[list[float]]


@torch.no_grad()
def remove_each_head(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Removal:
    """Scores `model` (put into eval mode) whole and without each head alone, in its own precision.

    A head is removed by zeros in its place before `proj`. What comes before a layer is the same
    for all its heads: it is computed once for each batch, by the pass of the whole network. For L
    layers of H heads that makes 1 + H (L + 1) / 2 passes through the blocks instead of 1 + H L.

    Args:
        batches: images (B, 3, H, W), normalised, and labels (B,), on the model's device.

    Raises:
        ConfigError: as `attention_layers`.
    """
    network, layers = token_classifier(model).eval(), attention_layers(model)
    blocks = {layer.block: network.get_submodule(layer.block) for layer in layers}
    whole = torch.zeros(2, dtype=torch.float64)
    without = [torch.zeros(layer.heads, 2, dtype=torch.float64) for layer in layers]
    images = 0
    for batch, labels in batches:
        with inputs_of(blocks) as before:
            whole += _scores(network(batch), labels)
        for layer, sums in zip(layers, without, strict=True):
            for head in range(layer.heads):
                with without_head(layer, head):
                    sums[head] += _scores(_answer(network, before[layer.block], layer), labels)
        images += len(labels)
    return _removal(images, whole, without)


def _answer(network: TokenClassifier, x: Tensor, layer: AttentionLayer) -> Tensor:
    """Logits from the tokens before the block of `layer`, as `TokenClassifier.forward` goes on."""
    last = len(network.blocks)
    for number in range(layer.number, last + 1):
        x = network.blocks[number - 1](x, number == last)
    return network.head(network.norm(x)[:, 0])


def _scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Right answers and summed cross-entropy, (2,) float64 on the CPU."""
    logits = logits.float()
    right = (logits.argmax(1) == labels).sum()
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([right, loss]).double().cpu()


def _removal(images: int, whole: Tensor, without: Sequence[Tensor]) -> Removal:
    right, loss = (whole / images).tolist()
    return Removal(
        images=images,
        top1_pct=100 * right,
        loss=loss,
        drop_pct=[(100 * (whole[0] - sums[:, 0]) / images).tolist() for sums in without],
        loss_rise=[((sums[:, 1] - whole[1]) / images).tolist() for sums in without],
    )
