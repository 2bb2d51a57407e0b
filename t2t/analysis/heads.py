"""The attention layers of a backbone, and the network with one head of them removed.

The token transformers of the T2T module are left out: they have one head each, which leaves
nothing to compare it with.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from t2t.errors import ConfigError
from t2t.nn.token_classifier import TokenClassifier


@dataclass(frozen=True)
class AttentionLayer:
    """Attention in several heads, whose outputs stand side by side in the input of `proj`.

    number: the block it stands in, counted from 1; name: of its module, such as "blocks.3.attn".
    """

    number: int
    name: str
    module: nn.Module
    heads: int

    @property
    def block(self) -> str:
        """The name of the block's module."""
        return self.name.rpartition(".")[0]

    @property
    def proj(self) -> nn.Linear:
        """The linear map that joins the heads."""
        return cast(nn.Linear, self.module.proj)


def token_classifier(model: nn.Module) -> TokenClassifier:
    """`model`, known to be a network of tokens. Raises ConfigError where it is none."""
    if not isinstance(model, TokenClassifier):
        raise ConfigError(f"{type(model).__name__} is no network of tokens: it has no attention")
    return model


def attention_layers(model: nn.Module) -> list[AttentionLayer]:
    """The backbone's attention layers of several heads, the first block's first.

    Raises:
        ConfigError: the network has none, or answers from more than the class token.
    """
    network = token_classifier(model)
    if getattr(network, "head_dist", None) is not None:
        raise ConfigError(
            "a distilled DeiT answers from two tokens; heads are compared in networks that answer "
            "from the class token alone"
        )
    layers = [
        AttentionLayer(number, f"blocks.{number - 1}.attn", block.attn, block.attn.num_heads)
        for number, block in enumerate(cast(Any, network.blocks), 1)
        if hasattr(block, "attn") and block.attn.num_heads > 1
    ]
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no attention layer of several heads")
    return layers


@contextmanager
def without_head(layer: AttentionLayer, head: int) -> Iterator[None]:
    """As long as the context is open, `head` (counted from 0) gives zeros to `proj`.

    Raises:
        ConfigError: the layer has no such head.
    """
    if not 0 <= head < layer.heads:
        raise ConfigError(f"{layer.name} has heads 0 to {layer.heads - 1}, not {head}")

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        apart = inputs[0].unflatten(-1, (layer.heads, -1)).clone()
        apart[..., head, :] = 0
        return apart.flatten(-2)

    handle = layer.proj.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def inputs_of(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The first argument of each module in its last call, detached, by the given names."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0].detach()

        return hook

    handles = [module.register_forward_pre_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
