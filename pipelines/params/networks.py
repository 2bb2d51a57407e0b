"""What networks there are, by the text of t2t/models, since its import would bring PyTorch.

The check of params.yaml comes before every stage; seconds of it would be seconds of each.
"""

import ast
import dataclasses
import functools
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pipelines.params.reader import Params, suggest
from pipelines.params.training import RowModel
from t2t.nn.options import wish_of

_ROOT = Path(__file__).resolve().parents[2]
_MODELS = _ROOT / "t2t" / "models"
_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}
_REGISTERED = re.compile(r'^@register_model\((?:name="(\w+)")?\)\n(?:.*\n)*?def (\w+)', re.M)


@dataclass(frozen=True)
class Variant:
    """The fields of a network's configuration: their values and their type hints."""

    values: Mapping[str, Any]
    types: Mapping[str, Any]


@functools.cache
def backbones() -> list[str]:
    """The files of t2t/models that hold networks."""
    return sorted(p.stem for p in _MODELS.glob("*.py") if "\nVARIANTS" in p.read_text())


@functools.cache
def variants(backbone: str) -> dict[str, Variant]:
    """The networks of a backbone by their names."""
    try:
        return _written(_tree(_MODELS / f"{backbone}.py"))
    except (ValueError, LookupError, OSError, StopIteration):
        # A table that is computed says what it holds only when it is imported.
        table = importlib.import_module(f"t2t.models.{backbone}").VARIANTS
        return {
            name: Variant(dataclasses.asdict(config), get_type_hints(type(config)))
            for name, config in table.items()
        }


@functools.cache
def parts(backbone: str) -> frozenset[str] | None:
    """Names that parameters of the backbone's networks may begin with; None where another library
    makes its networks."""
    files = [_MODELS / f"{backbone}.py", _ROOT / "t2t" / "nn" / "token_classifier.py"]
    if not any("TokenClassifier" in ast.unparse(base) for base in _bases(_tree(files[0]))):
        return None
    found = (node for file in files for node in ast.walk(_tree(file)))
    return frozenset(
        target.attr
        for node in found
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.IfExp)
        for target in node.targets
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
    )


@functools.cache
def torchvision_models() -> frozenset[str]:
    """The names of torchvision's models."""
    spec = find_spec("torchvision")
    folders = (spec and spec.submodule_search_locations) or []
    texts = (p.read_text() for folder in folders for p in Path(folder, "models").rglob("*.py"))
    return frozenset(given or own for text in texts for given, own in _REGISTERED.findall(text))


def check_model(params: Params, place: str, model: RowModel) -> None:
    """Raises ConfigError, at the key below `place`, unless t2t/models can make that network."""
    if model.backbone not in backbones():
        known = ", ".join(backbones())
        raise params.error(
            f"{place}.backbone", f"no backbone t2t/models/{model.backbone}.py (known: {known})"
        )
    known = variants(model.backbone)
    if model.variant not in known:
        problem = f"t2t/models/{model.backbone}.py has no {model.variant!r}"
        raise params.error(f"{place}.variant", f"{problem}{suggest(model.variant, known)}")
    types = known[model.variant].types
    for option, value in model.overrides.items():
        key = f"{place}.overrides.{option}"
        if option not in types:
            raise params.error(key, f"unknown key{suggest(option, types)}")
        wish = wish_of(option, value, types[option])
        if wish is not None:
            raise params.error(key, f"must be {wish}, got {value!r}")
    values = configuration(model)
    if values.get("embed_dim", 0) % values.get("num_heads", 1):
        problem = f"a width of {values['embed_dim']} is no multiple of {values['num_heads']} heads"
        raise params.error(f"{place}.overrides", problem)


def configuration(model: RowModel) -> dict[str, Any]:
    """Every field of the network's configuration, numbers as the field's type has them."""
    variant = variants(model.backbone)[model.variant]
    values = {**variant.values, **model.overrides}
    return {
        option: float(value) if variant.types[option] is float else value
        for option, value in values.items()
    }


def _bases(tree: ast.Module) -> Iterable[ast.expr]:
    return [base for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _written(tree: ast.Module) -> dict[str, Variant]:
    """The table of a file that writes it out. Raises ValueError or LookupError for another."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "VARIANTS"
    )
    if not isinstance(table, ast.Dict):
        raise ValueError("no table")
    found = {}
    for key, call in zip(table.keys, table.values, strict=True):
        if key is None or not isinstance(call, ast.Call):
            raise ValueError("no network")
        found[ast.literal_eval(key)] = _variant(tree, classes[ast.unparse(call.func)], call)
    return found


def _variant(tree: ast.Module, config: ast.ClassDef, call: ast.Call) -> Variant:
    if config.bases:
        raise ValueError("fields that stand elsewhere")
    fields = [node for node in config.body if isinstance(node, ast.AnnAssign)]
    types = {ast.unparse(field.target): _type(tree, field.annotation) for field in fields}
    values = {
        ast.unparse(field.target): ast.literal_eval(field.value)
        for field in fields
        if field.value is not None
    }
    values |= dict(zip(types, map(ast.literal_eval, call.args), strict=False))
    for word in call.keywords:
        if word.arg is None:
            raise ValueError("values that stand elsewhere")
        values[word.arg] = ast.literal_eval(word.value)
    return Variant({name: values[name] for name in types}, types)


def _type(tree: ast.Module, hint: ast.expr) -> Any:
    text = ast.unparse(hint)
    if text in _PLAIN:
        return _PLAIN[text]
    if text == "tuple[int, ...]":
        return tuple[int, ...]
    if text.startswith("Literal[") and isinstance(hint, ast.Subscript):
        return Literal[ast.literal_eval(hint.slice)]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(text == name.name for name in node.names):
            there = _tree(_ROOT.joinpath(*(node.module or "").split(".")).with_suffix(".py"))
            return next(
                _type(there, line.value)
                for line in there.body
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == text
            )
    raise ValueError(f"no type {text} that is known")
