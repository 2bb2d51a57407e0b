"""The optimiser: AdamW with the paper's split into decayed and undecayed parameters."""

from typing import Any

import torch
from torch import nn

NEVER_DECAYED = frozenset({"cls_token", "dist_token", "pos_embed"})


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of trainable parameters: with weight decay, and without.

    Biases, norms (every tensor of at most one dimension) and the tokens and position embeddings
    in NEVER_DECAYED are not decayed; frozen parameters are in neither group.
    """
    decayed, undecayed = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        exempt = parameter.ndim <= 1 or name.rpartition(".")[2] in NEVER_DECAYED
        (undecayed if exempt else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]


def adamw(
    model: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`, with the fused kernel: a handful of launches a step."""
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
