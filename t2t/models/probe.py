"""A look inside a network while it runs: features and attention maps by the names of its modules.

    with capture(model, features=["blocks.3"], attention=["blocks.3.attn"]) as seen:
        model(images)
    seen.features["blocks.3"], seen.attention["blocks.3.attn"]

Forward passes use fused attention, which forms no map. A map is computed beside it, by the
attention module itself, from the input that the module was given; the pass stays as it is.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from t2t.errors import ConfigError
from t2t.nn.tokens_to_token import TokensToToken


@dataclass(frozen=True)
class Captured:
    """What the last pass showed, by module name, detached.

    `features` are the modules' outputs. `attention` holds maps (B, heads, N, N), each row the
    shares that sum to 1, in float32 or wider; the last block's is whole although that block
    computes the class token's row alone. Its features are that row, unless the pass was
    `forward_features`.
    """

    features: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def capture(
    model: nn.Module, features: Sequence[str] = (), attention: Sequence[str] = ()
) -> Iterator[Captured]:
    """Watches the named modules of `model` as long as the context is open.

    Args:
        features: names as `model.named_modules()` gives them.
        attention: names of modules that form attention maps by softmax, such as "blocks.3.attn"
            or, in T2T-ViT_t, "tokens_to_token.attention1.attn".

    Raises:
        ConfigError: there is no module of that name, or it forms no map.
    """
    modules = dict(model.named_modules())
    mapped = [name for name, module in modules.items() if hasattr(module, "attention_map")]
    for name in features:
        _expect_among(name, list(modules), "module")
    for name in attention:
        _expect_among(name, mapped, "module with an attention map")
    seen = Captured()
    handles = []
    # What works in turns would show its last turn alone.
    in_turns = [module for module in modules.values() if isinstance(module, TokensToToken)]
    pixels_at_once = [module.pixels_at_once for module in in_turns]
    for module in in_turns:
        module.pixels_at_once = None
    try:
        for name in features:
            handles.append(modules[name].register_forward_hook(_keep_output(seen, name)))
        for name in attention:
            handles.append(modules[name].register_forward_pre_hook(_keep_map(seen, name)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        for module, before in zip(in_turns, pixels_at_once, strict=True):
            module.pixels_at_once = before


def _keep_output(seen: Captured, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.features[name] = output.detach()

    return hook


def _keep_map(seen: Captured, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        form_map = cast(Callable[[Tensor], Tensor], module.attention_map)
        with torch.no_grad():
            seen.attention[name] = form_map(inputs[0])

    return hook


def _expect_among(name: str, known: Sequence[str], kind: str) -> None:
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    hint = f"the nearest: {', '.join(nearest)}" if nearest else "the network has none"
    raise ConfigError(f"no {kind} is called {name!r}; {hint}")
