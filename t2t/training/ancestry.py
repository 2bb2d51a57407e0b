"""What a run takes over from others: weights to start with, or a teacher."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from t2t.errors import ConfigError
from t2t.models.released import load_released
from t2t.training.config import Parent, network_of

IMAGENET_CLASSES = 1000


def take_over(model: nn.Module, parent: Parent | None) -> None:
    """Gives `model` its parent's averaged weights, positions resized to its images.

    The head stays as it is where the parent is a `backbone`. Nothing happens without a parent, or
    where that is a teacher. Raises CheckpointError for weights that do not fit, or are not what
    its training wrote.
    """
    if parent is not None and parent.role != "teacher":
        load_released(model, parent.weights, own_head=parent.role == "backbone")


def teacher_of(
    parent: Parent | None, torchvision_name: str, resolved: Mapping[str, Any]
) -> nn.Module | None:
    """The teacher of a run whose config.json is `resolved`, for images of its size; or None.

    Raises ConfigError where there would be two, or torchvision has no such model, or the run's
    classes or channel statistics are not ImageNet's.
    """
    named = torchvision_name != "none"
    if parent is not None and parent.role == "teacher":
        if named:
            raise ConfigError(f"two teachers: {torchvision_name} and the run in {parent.run}")
        network = network_of(parent.config() | {"image_size": resolved["image_size"]})
        load_released(network, parent.weights)
        return _silent(network)
    if not named:
        return None
    if resolved["num_classes"] != IMAGENET_CLASSES:
        raise ConfigError(
            f"teacher {torchvision_name} knows ImageNet's {IMAGENET_CLASSES} classes, the data set "
            f"has {resolved['num_classes']}: let another row teach"
        )
    from torchvision.models import get_model, list_models

    if torchvision_name not in list_models():
        raise ConfigError(f"teacher {torchvision_name!r}: torchvision has no such model")
    normalization = resolved["recipe"]["normalization"]
    if normalization != "imagenet":
        raise ConfigError(
            f"teacher {torchvision_name} has learnt from images by ImageNet's channel statistics: "
            f"normalization must be imagenet, not {normalization}"
        )
    return _silent(get_model(torchvision_name, weights="DEFAULT"))


def _silent(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)
