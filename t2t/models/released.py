"""Weights from files: the official releases, other published checkpoints, and our own."""

import argparse
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2t.errors import CheckpointError
from t2t.files import commit, partial_path
from t2t.nn.patch_embed import PATCH

# Where checkpoints keep their weights: timm's average first, as the paper's figures are its.
_CONTAINERS = ("state_dict_ema", "state_dict", "model", "net")
_HEADS = ("head", "head_dist", "fc", "classifier")
_SHOWN = 3
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

State = dict[str, Tensor]


@dataclass(frozen=True)
class Loaded:
    """What was not taken from the file as it stands.

    `container` is the checkpoint's entry that held the weights, "" for the file itself. `remade`
    lists tensors of the head that keep the model's values: the file has another number of classes,
    or its head was not wanted. `position` says what became of pos_embed.
    """

    container: str
    remade: tuple[str, ...] = ()
    position: Literal["kept", "recomputed", "interpolated"] = "kept"


@dataclass(frozen=True)
class _File:
    path: Path
    state: State
    container: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def load_released(
    model: nn.Module,
    path: str | Path,
    *,
    position: Literal["recompute", "interpolate"] = "recompute",
    own_head: bool = False,
) -> Loaded:
    """Puts the weights of the file at `path` into `model`, all of them or, on an error, none.

    Reads what torch.save wrote (a state dict, or a checkpoint that holds one as state_dict_ema,
    state_dict, model or net, with or without a "module." before every key) and safetensors. No
    code in the file is run.

    With another number of classes, or with `own_head`, the model's own head stays. With another
    image size a learnt pos_embed is interpolated (bicubic); a fixed one is recomputed, which is
    what the network was made with, or interpolated as `position` asks.

    Raises:
        CheckpointError: the file cannot be read, is no checkpoint, holds what are no finite
            numbers, or does not fit the model.
    """
    file = _read(Path(path))
    own = model.state_dict()
    _expect_numbers(file, own)
    state = dict(file.state)
    remade = _without_foreign_head(state, own, own_head)
    fate = _fit_positions(model, file, state, own, position)
    _expect_fit(file.path, state, own)
    model.load_state_dict(state)
    return Loaded(file.container, remade, fate)


def save_safetensors(model: nn.Module, path: str | Path) -> None:
    """Writes the model's weights at `path`: the whole file, or on an error none."""
    from safetensors.torch import save

    path = Path(path)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    size = getattr(model, "image_size", None)
    metadata = {} if size is None else {"image_size": f"{size[0]}x{size[1]}"}
    partial = partial_path(path)
    try:
        # In memory first: where the disk is full, the library's own writing raises no OSError.
        partial.write_bytes(save(state, metadata))
        commit(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read(path: Path) -> _File:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    file = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key, value in file.state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: no state dict: {key!r} is a {type(value).__name__}")
    if not file.state:
        raise CheckpointError(f"{path}: holds no weights")
    return file


def _read_safetensors(path: Path) -> _File:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            state = {key: stream.get_tensor(key) for key in stream.keys()}
            return _File(path, state, metadata=stream.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: no sound safetensors file: {_line(error)}") from None


def _read_torch(path: Path) -> _File:
    _expect_sound_zip(path)
    try:
        # timm's checkpoints hold the arguments of their training.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of damaged bytes, unpickling can make any error there is
        raise CheckpointError(
            f"{path}: damaged, no checkpoint, or holds more than weights: {_line(error)}"
        ) from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not weights by name")
    content = cast(Mapping[Any, Any], content)
    container = next((key for key in _CONTAINERS if isinstance(content.get(key), Mapping)), "")
    state = dict(content[container] if container else content)
    if all(isinstance(key, str) and key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return _File(path, state, container)


def _expect_sound_zip(path: Path) -> None:
    """Compares the checksums in what torch.save writes today, which torch.load does not."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except Exception as error:  # of damaged bytes, as above
        raise CheckpointError(f"{path}: damaged: {_line(error)}; get it again") from None
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged: {damaged!a} has another CRC-32; get it again")


def is_head(key: str) -> bool:
    """Whether the tensor `key` of a network belongs to a classifier at its end."""
    return key.rpartition(".")[0] in _HEADS


def _without_foreign_head(state: State, own: State, always: bool) -> tuple[str, ...]:
    """Replaces heads of another number of classes by the model's, or with `always` any head;
    returns their tensors' keys."""
    remade = tuple(
        key
        for key in own
        if key in state
        and is_head(key)
        and (always or state[key].shape[:1] != own[key].shape[:1])
        and state[key].shape[1:] == own[key].shape[1:]
    )
    state.update({key: own[key] for key in remade})
    return remade


def _fit_positions(
    model: nn.Module, file: _File, state: State, own: State, position: str
) -> Literal["kept", "recomputed", "interpolated"]:
    """Makes the file's pos_embed that of the model's image size, where the two differ."""
    table, mine = state.get("pos_embed"), own.get("pos_embed")
    size = cast(tuple[int, int] | None, getattr(model, "image_size", None))
    if table is None or mine is None or size is None or table.ndim != 3:
        return "kept"
    grid = size[0] // PATCH, size[1] // PATCH
    first = mine.shape[1] - grid[0] * grid[1]
    old_grid = _grid_of(file, table.shape[1] - first)
    if table.shape[1] == mine.shape[1] and (old_grid is None or old_grid == grid):
        return "kept"
    if table.shape[2] != mine.shape[2] or old_grid is None:
        return "kept"  # reported with everything else that does not fit
    fixed = not cast(nn.Parameter, model.get_parameter("pos_embed")).requires_grad
    if fixed and position == "recompute":
        state["pos_embed"] = mine
        return "recomputed"
    state["pos_embed"] = _interpolate(table, first, old_grid, grid)
    return "interpolated"


def _grid_of(file: _File, patches: int) -> tuple[int, int] | None:
    """Rows and columns of the file's patches: as it says, else a square, else None."""
    try:
        height, width = (int(x) // PATCH for x in file.metadata["image_size"].split("x"))
        if height * width == patches:
            return height, width
    except (KeyError, ValueError):
        pass
    side = math.isqrt(max(0, patches))
    return (side, side) if side and side * side == patches else None


def _interpolate(
    table: Tensor, first: int, old_grid: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """(1, first + old patches, D) -> (1, first + patches, D); the first rows stay."""
    patches = table[:, first:].to(torch.promote_types(table.dtype, torch.float32))
    patches = patches.transpose(1, 2).unflatten(2, old_grid)
    patches = F.interpolate(patches, grid, mode="bicubic", align_corners=False)
    patches = patches.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :first], patches], dim=1)


def _expect_numbers(file: _File, own: State) -> None:
    """Raises CheckpointError unless every tensor that the model has too is dense, of real numbers
    as the model's is (integers for integers), and finite, as the model will hold it."""
    for key in file.state.keys() & own.keys():
        value, mine = file.state[key], own[key]
        kinds = _FLOATS if mine.is_floating_point() else _INTEGERS
        dense = value.layout is torch.strided and not value.is_nested and not value.is_meta
        if not dense or value.dtype not in kinds:
            layout = "" if dense else "meta " if value.is_meta else f"{value.layout} "
            found = f"{layout}{value.dtype}".replace("torch.", "")
            wanted = "integers" if kinds is _INTEGERS else "dense floating-point numbers"
            raise CheckpointError(f"{file.path}: {key} is {found}; a network needs {wanted}")
        if not value.to(mine.dtype).isfinite().all():
            raise CheckpointError(
                f"{file.path}: {key} holds NaN or infinity; the file is damaged, get it again"
            )


def _expect_fit(path: Path, state: State, own: State) -> None:
    """Raises CheckpointError unless keys and shapes are the model's."""

    def shown(keys: list[str], text: Any) -> str:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        return ", ".join(f"{key} {text(key)}" for key in keys[:_SHOWN]) + more

    missing = [key for key in own if key not in state]
    foreign = [key for key in state if key not in own]
    unlike = [key for key in own if key in state and state[key].shape != own[key].shape]
    problems = []
    if missing:
        problems.append("lacks " + shown(missing, lambda k: _shape(own[k])))
    if foreign:
        problems.append("has besides " + shown(foreign, lambda k: _shape(state[k])))
    if unlike:
        both = shown(unlike, lambda k: f"{_shape(state[k])} where {_shape(own[k])} is wanted")
        problems.append("has " + both)
    if problems:
        raise CheckpointError(f"{path}: the weights do not fit the model: {'; '.join(problems)}")


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _line(error: Exception) -> str:
    """The first sentence of an error's message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0][:160]
