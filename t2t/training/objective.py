"""What a step minimises: soft cross-entropy, and the answers of a teacher where there is one."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy


class EveryHead(nn.Module):
    """The forward pass of a network of two heads that keeps them apart."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) -> logits (B, 2, classes)."""
        return self.model.forward_heads(x)  # pyright: ignore[reportCallIssue]


def heads_apart(model: nn.Module) -> nn.Module:
    """What an Objective asks of `model`: each head's answer, where it has two."""
    return model if getattr(model, "head_dist", None) is None else EveryHead(model)


@dataclass(frozen=True)
class Objective:
    """The loss of a batch, summed over its images.

    With a teacher, half of it is the cross-entropy to the class that the teacher finds likeliest
    (hard distillation, DeiT, arXiv 2012.12877, equation 3). Where the network gives the logits of
    two heads, (B, 2, classes), the first learns from the labels, the second from the teacher, or
    from the labels too where there is none.
    """

    teacher: nn.Module | None = None

    def __call__(
        self, network: nn.Module, images: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """images: (B, 3, H, W); targets: (B, classes), rows summing to 1. A scalar in float32."""
        logits = network(images).float()
        of_labels, of_teacher = logits.unbind(1) if logits.ndim == 3 else (logits, logits)
        loss = cross_entropy(of_labels, targets, reduction="sum")
        if self.teacher is None and logits.ndim == 2:
            return loss
        if self.teacher is not None:
            with torch.no_grad():
                targets = self.teacher(images).argmax(1)
        return (loss + cross_entropy(of_teacher, targets, reduction="sum")) / 2
