"""The only reader of params.yaml: strict, typed, and able to say which line is wrong.

A stage asks for the parts it declares in dvc.yaml and sees no other. `pipelines.check` looks at
the whole file.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode

from t2t.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
# Pixels a side, in whole patches.
ImageSize = Annotated[int, Field(ge=16, multiple_of=16)]
Part = TypeVar("Part")
# What ruamel lets out of a value that its tag or its look promises to be another: !!int foo is a
# ValueError, !!bool x a KeyError, 2001-99-99 and 5,000 digits a ValueError, and some others are
# less foreseeable.
_UNREAD = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError)


class ParamsPart(BaseModel):
    """A part of the file: strict types, frozen, no key it does not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Params:
    """A parsed params.yaml; `part` validates what is asked for.

    Raises ConfigError, one line with file, line, key, what is wrong and what is allowed.
    """

    def __init__(self, path: Path):
        self.path = path
        self.tree = _read(path)

    def part(self, key: str, schema: type[Part] | Any) -> Part:
        """The value at the dotted `key`, validated as `schema`."""
        return self.validated(key, schema, self.value(key))

    def value(self, key: str) -> Any:
        """The plain value at the dotted `key`."""
        node: Any = self.tree
        for done, name in enumerate(names := key.split(".")):
            if not isinstance(node, Mapping) or name not in node:
                there = ".".join(names[: done + 1])
                known = list(node) if isinstance(node, Mapping) else []
                raise self.error(there, f"missing{suggest(name, known)}")
            node = node[name]
        return node

    def validated(self, key: str, schema: Any, value: Any) -> Any:
        try:
            return TypeAdapter(schema).validate_python(value, strict=True)
        except ValidationError as error:
            raise self._explain(key, schema, error) from None

    def error(self, key: str, problem: str) -> ConfigError:
        """A ConfigError at the line where `key`, or its nearest parent, stands."""
        line = _line_of(self.path, key.split("."))
        return ConfigError(f"{self.path.name}:{line}: {key}: {problem}")

    def _explain(self, key: str, schema: Any, error: ValidationError) -> ConfigError:
        found = error.errors()
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        names = [str(name) for name in first["loc"]]
        place = ".".join([key, *names])
        if first["type"] != "extra_forbidden":
            return self.error(place, _problem(first))
        for name in names[:-1]:
            fields = getattr(schema, "model_fields", None)
            # Of a mapping, the values.
            schema = fields[name].annotation if fields else get_args(schema)[-1]
            if type(None) in get_args(schema):
                schema = next(s for s in get_args(schema) if s is not type(None))
        return self.error(place, f"unknown key{suggest(names[-1], schema.model_fields)}")


def _problem(first: Mapping[str, Any]) -> str:
    if first["type"] == "missing":
        return "missing"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{message}, got {first['input']!r}"


def suggest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{hint} (known here: {', '.join(known) or 'none'})"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path.name}: larger than {MAX_BYTES} bytes, which no params.yaml is")
    try:
        text = path.read_text(encoding="utf-8")
        _check_events(path, text)
        tree = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        problem = str(error.problem).partition(" with value")[0].replace("found ", "")
        raise ConfigError(f"{path.name}:{line}: {problem}; every key stands once") from None
    except (YAMLError, *_UNREAD) as error:
        raise ConfigError(f"{path.name} is no valid YAML: {_said(error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: must be a mapping with scale, scales, recipe and rows")
    return tree


def _check_events(path: Path, text: str) -> None:
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise ConfigError(f"{path.name}:{line}: aliases (*name) are not allowed")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{path.name}:{line} is no valid YAML: nested more than {MAX_DEPTH} deep"
            )


def _said(error: Exception) -> str:
    """The error in one line."""
    kind = "" if isinstance(error, YAMLError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())


def _line_of(path: Path, names: list[str]) -> int:
    # Nodes alone: a value that cannot be made has its line all the same.
    node: Any = YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8"))
    line = 1
    for name in names:
        pairs = node.value if isinstance(node, MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == name), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
