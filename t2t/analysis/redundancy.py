"""Head redundancy of one trained network: similarity beside importance, layer by layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from t2t.analysis.channels import ChannelSizes
from t2t.analysis.heads import AttentionLayer, attention_layers, inputs_of, token_classifier
from t2t.analysis.removal import Removal
from t2t.analysis.similarity import MapCosine, OutputCKA, similarity_to_others
from t2t.models.probe import capture


@dataclass(frozen=True)
class LayerAlikeness:
    """Of one attention layer and its block: `similarity` and `cka` between heads (heads, heads),
    and which channels are dead or saturated (channels,)."""

    layer: AttentionLayer
    similarity: Tensor
    cka: Tensor
    dead: Tensor
    saturated: Tensor


@torch.no_grad()
def compare_heads(model: nn.Module, batches: Iterable[Tensor]) -> list[LayerAlikeness]:
    """Compares the heads of every attention layer of `model` (put into eval mode).

    In the last block the class token's row alone is compared: the other rows of its maps reach
    nothing. Channels are those of all tokens, in every block.

    Args:
        batches: images (B, 3, H, W), normalised, on the model's device.

    Raises:
        ConfigError: as `attention_layers`.
    """
    network, layers = token_classifier(model).eval(), attention_layers(model)
    sums = [(MapCosine(), OutputCKA(layer.heads), ChannelSizes()) for layer in layers]
    blocks, names = [layer.block for layer in layers], [layer.name for layer in layers]
    for images in batches:
        with (
            capture(network, features=blocks, attention=names) as seen,
            inputs_of({layer.name: layer.proj for layer in layers}) as joined,
        ):
            network.forward_features(images)
        for layer, (cosine, cka, sizes) in zip(layers, sums, strict=True):
            queries = 1 if layer.number == len(network.blocks) else None
            cosine.add(seen.attention[layer.name][:, :, :queries])
            cka.add(joined[layer.name][:, :queries])
            sizes.add(seen.features[layer.block])
    return [
        LayerAlikeness(layer, cosine.matrix(), cka.matrix(), sizes.dead(), sizes.saturated())
        for layer, (cosine, cka, sizes) in zip(layers, sums, strict=True)
    ]


@dataclass(frozen=True)
class Redundancy:
    """One trained network: its layers' likeness, and what each head's removal costs."""

    layers: Sequence[LayerAlikeness]
    removal: Removal

    def plain(self) -> dict[str, Any]:
        """As plain values. `head_similarity` is each head's mean over the others of its layer."""
        return {
            "base_top1_pct": self.removal.top1_pct,
            "base_loss": self.removal.loss,
            "layers": [self._layer(index) for index in range(len(self.layers))],
        }

    def _layer(self, index: int) -> dict[str, Any]:
        found = self.layers[index]
        heads = similarity_to_others(found.similarity)
        return {
            "layer": found.layer.number,
            "module": found.layer.name,
            "heads": found.layer.heads,
            "similarity": found.similarity.tolist(),
            "cka": found.cka.tolist(),
            "head_similarity": heads.tolist(),
            "mean_similarity": heads.mean().item(),
            "mean_cka": similarity_to_others(found.cka).mean().item(),
            "drop_pct": self.removal.drop_pct[index],
            "loss_rise": self.removal.loss_rise[index],
            "channels": len(found.dead),
            "dead_channels_pct": 100 * found.dead.double().mean().item(),
            "saturated_channels_pct": 100 * found.saturated.double().mean().item(),
        }
