"""The networks. Each file here is one backbone: its class, its VARIANTS table and `build`.

A backbone is found by its file name and imported when one of its networks is asked for, so a new
file is a new backbone and nothing else changes. Two files hold none: `released` reads and writes
weights, `probe` looks inside a network; what they offer can be had from here.
"""

import dataclasses
import difflib
import importlib
import math
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, cast, get_type_hints

from torch import nn

from t2t.errors import ConfigError
from t2t.nn.options import wish_of
from t2t.nn.patch_embed import height_width

# What can be had from here, and the file that holds it, read when it is first asked for.
_TOOLS = {"load_released": "released", "save_safetensors": "released", "capture": "probe"}


class Config(Protocol):
    """A frozen dataclass that describes one network; its fields can be overridden by name."""

    def scaled(self, width_factor: float, depth_factor: float) -> Self:
        """The same kind of network, narrower and shallower; factors of 1 change nothing."""
        ...


class Backbone(Protocol):
    """What each module of this package holds."""

    VARIANTS: Mapping[str, Config]

    def build(
        self, config: Config, *, image_size: tuple[int, int], num_classes: int
    ) -> nn.Module: ...


def create(
    name: str,
    *,
    backbone: str | None = None,
    image_size: int | Sequence[int] = 224,
    num_classes: int = 1000,
    width_factor: float = 1.0,
    depth_factor: float = 1.0,
    **overrides: Any,
) -> nn.Module:
    """The network called `name`, freshly initialised: images (B, 3, H, W) -> (B, num_classes).

    Args:
        backbone: the file that holds it; given, no other is imported.
        image_size: side or (height, width) in pixels, multiples of 16.
        width_factor, depth_factor: shrink the network for small scales; 1 is the paper's.
        overrides: fields of the variant's config, applied before it is shrunk.

    Raises:
        ConfigError: unknown name, backbone or override, or a value out of range.
    """
    module = _load(backbone) if backbone is not None else _load(backbone_of(name))
    _expect_known("network", name, module.VARIANTS)
    config = _override(name, module.VARIANTS[name], overrides)
    for key, factor in (("width_factor", width_factor), ("depth_factor", depth_factor)):
        if not (math.isfinite(factor) and factor > 0):
            raise ConfigError(f"{key} is {factor}: it must be a number above 0")
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}: it must be at least 1")
    return module.build(
        config.scaled(width_factor, depth_factor),
        image_size=height_width(image_size),
        num_classes=num_classes,
    )


def names() -> list[str]:
    """Every network's name, backbone by backbone."""
    return [name for backbone in backbones() for name in _load(backbone).VARIANTS]


def backbones() -> list[str]:
    """Names of the backbone files, none of them imported."""
    files = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(files - set(_TOOLS.values()))


def backbone_of(name: str) -> str:
    """The backbone that holds the network `name`.

    Raises:
        ConfigError: no backbone has a network of that name.
    """
    for backbone in backbones():
        if name in _load(backbone).VARIANTS:
            return backbone
    raise _unknown("network", name, names())


def __getattr__(name: str) -> Any:
    if name not in _TOOLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_TOOLS[name]}"), name)


def _load(backbone: str) -> Backbone:
    _expect_known("backbone", backbone, backbones())
    return cast(Backbone, importlib.import_module(f"{__name__}.{backbone}"))


def _override(name: str, config: Config, overrides: Mapping[str, Any]) -> Config:
    types = get_type_hints(type(config))
    for key, value in overrides.items():
        _expect_known(f"parameter of {name}", key, types)
        wish = wish_of(key, value, types[key])
        if wish is not None:
            raise ConfigError(f"{name}: {key} is {value!r}: it must be {wish}")
    return dataclasses.replace(cast(Any, config), **overrides)


def _expect_known(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise _unknown(kind, name, known)


def _unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return ConfigError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(known)}")
