"""The optimiser and its groups: decayed or not, at the head's learning rate or the backbone's."""

from typing import Any

import torch
from torch import nn

from t2t.errors import ConfigError
from t2t.models.released import is_head
from t2t.training.recipe import Recipe, learning_rate

NEVER_DECAYED = frozenset({"cls_token", "dist_token", "pos_embed"})


def freeze(model: nn.Module, names: tuple[str, ...]) -> None:
    """Stops the parameters `names`, or all of a module of that name, from being trained.

    Raises ConfigError for a name of neither.
    """
    parameters = dict(model.named_parameters())
    for name in names:
        parts = [key for key in parameters if f"{key}.".startswith(f"{name}.")]
        if not parts:
            known = ", ".join(dict.fromkeys(key.partition(".")[0] for key in parameters))
            raise ConfigError(
                f"frozen: {name!r} is no parameter or module of the network, which has {known}"
            )
        for key in parts:
            parameters[key].requires_grad_(False)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The trainable parameters by weight decay and learning rate; frozen ones are in no group.

    Biases, norms (every tensor of at most one dimension) and the tokens and position embeddings
    in NEVER_DECAYED are not decayed, unless `decay_all` says so. `lr_factor` of a group is 1, or
    `backbone_lr_factor` for what is not the head's.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for factor in (recipe.backbone_lr_factor, 1.0):
        groups |= {(factor, True): [], (factor, False): []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        exempt = parameter.ndim <= 1 or name.rpartition(".")[2] in NEVER_DECAYED
        factor = 1.0 if is_head(name) else recipe.backbone_lr_factor
        groups[factor, recipe.decay_all or not exempt].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
            "lr_factor": factor,
        }
        for (factor, decayed), parameters in groups.items()
        if parameters
    ]


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameter_groups`, with the fused kernel: a handful of launches
    a step."""
    groups = parameter_groups(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def set_learning_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Gives every group its learning rate of an epoch, counted from 0."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, epoch, group["lr_factor"])
