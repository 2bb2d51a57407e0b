"""What a network makes of some images, as maps: its tokens, features of blocks, attention.

    look = look_inside(model, images)
    look.features[4]   # (B, channels, rows, columns) after the fourth block

Everything is taken by hooks from a whole forward pass, so class token and position embedding have
had their part in it. The paper's notebooks run the modules one after the other, without either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from t2t.analysis.heads import token_classifier
from t2t.errors import ConfigError
from t2t.models.probe import capture
from t2t.nn.patch_embed import PATCH
from t2t.nn.token_classifier import TokenClassifier
from t2t.nn.tokens_to_token import SPLITS

# The official README shows attention of blocks 4 and 5; the last block's is what the answer reads.
SHOWN_BLOCKS = (4, 5)
# Modules of a tokenizer that give tokens of their own, by the number of soft splits before them.
_INNER_STEPS = {"attention1": 1, "attention2": 2, "soft_split0": 1, "soft_split1": 2}


@dataclass(frozen=True)
class Look:
    """Maps of one batch, on the network's device, blocks counted from 1.

    tokens: after each step of the tokenizer, (B, C, rows, columns), the finest grid first;
    features: after a block, the class token left out, (B, channels, rows, columns);
    attention: what the class token takes of each image token in each head of a block,
    (B, heads, rows, columns); these sum to 1 with its share of itself, which is left out.
    """

    tokens: tuple[Tensor, ...]
    features: Mapping[int, Tensor]
    attention: Mapping[int, Tensor]


def shown_blocks(model: nn.Module) -> tuple[int, ...]:
    """Blocks 4 and 5, as far as there are such, and the last: what `look_inside` looks at unless
    told otherwise."""
    depth = len(token_classifier(model).blocks)
    return tuple(number for number in SHOWN_BLOCKS if number < depth) + (depth,)


@torch.no_grad()
def look_inside(model: nn.Module, images: Tensor, blocks: Sequence[int] | None = None) -> Look:
    """Looks into `model`, which is put into eval mode, after the given blocks.

    Args:
        images: (B, 3, H, W), normalised, of the network's size, on its device.
        blocks: their numbers, counted from 1; None for `shown_blocks`.

    Raises:
        ConfigError: the network has no tokens, or no block of that number, or the images are not
            of its size.
    """
    network = token_classifier(model).eval()
    numbers = shown_blocks(model) if blocks is None else tuple(blocks)
    depth = len(network.blocks)
    for number in numbers:
        if not 1 <= number <= depth:
            raise ConfigError(f"the network has blocks 1 to {depth}, not {number}")
    names = {number: f"blocks.{number - 1}" for number in numbers}
    attention = {
        number: f"{name}.attn"
        for number, name in names.items()
        if hasattr(network.get_submodule(name), "attn")
    }
    steps = _steps(network, images.shape[-2], images.shape[-1])
    with capture(network, [*names.values(), *steps], list(attention.values())) as seen:
        network.forward_features(images)
    grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
    return Look(
        tokens=tuple(_as_maps(seen.features[name], at) for name, at in steps.items()),
        features={number: _as_maps(seen.features[name], grid) for number, name in names.items()},
        attention={
            number: _as_maps(seen.attention[name][:, :, 0].mT, grid)
            for number, name in attention.items()
        },
    )


def _steps(network: TokenClassifier, height: int, width: int) -> dict[str, tuple[int, int]]:
    """Names of the modules that give tokens before the blocks, with their grids."""
    own = next(name for name, module in network.named_modules() if module is network.tokenizer)
    inner = {name: n for name, n in _INNER_STEPS.items() if hasattr(network.tokenizer, name)}
    grids = [(height, width)]
    for split in SPLITS:
        grids.append(split.grid(*grids[-1]))
    return {f"{own}.{name}": grids[n] for name, n in inner.items()} | {own: grids[-1]}


def _as_maps(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, [first tokens +] rows*columns, C), or maps already, -> (B, C, rows, columns), float32."""
    if tokens.dim() == 4:
        return tokens.float()
    return tokens[:, -grid[0] * grid[1] :].mT.unflatten(2, grid).float()
