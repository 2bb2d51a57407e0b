"""Parameters worth testing with, and what "the same arithmetic" means."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def perturb(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` in float64, evaluation mode, with no parameter left at zero, one or its default."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 4
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * fan_in**-0.5)
    return module


def randn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def assert_same_arithmetic(
    module: nn.Module,
    lean: Callable[[Tensor], Tensor],
    plain: Callable[[Tensor], Tensor],
    x: Tensor,
    tolerance: float = 1e-10,
) -> None:
    """Values and gradients, of the input and of every trained parameter, agree."""
    (lean_value, lean_grads), (plain_value, plain_grads) = (
        _value_and_grads(module, function, x) for function in (lean, plain)
    )
    assert lean_value.shape == plain_value.shape
    assert _error(lean_value, plain_value) < tolerance
    assert lean_grads.keys() == plain_grads.keys()
    for name, grad in plain_grads.items():
        assert _error(lean_grads[name], grad) < tolerance, name


def _value_and_grads(
    module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    module.zero_grad()
    x = x.clone().requires_grad_()
    value = function(x)
    (value * randn(*value.shape, seed=2)).sum().backward()
    grads = {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}
    assert grads.keys() == {k for k, p in module.named_parameters() if p.requires_grad}
    return value.detach(), grads | {"input": x.grad}


def _error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(1e-12))
