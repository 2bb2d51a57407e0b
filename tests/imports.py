"""The first-party files that a module loads when it is imported, found by reading the sources."""

import ast
from pathlib import Path

from conftest import ROOT

PACKAGES = ("t2t", "pipelines")


def import_closure(entry: Path) -> set[Path]:
    """Every file of this project that importing `entry` reads, imports inside functions included."""
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported_files(path)
    return found


def _imported_files(path: Path) -> list[Path]:
    files = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            files += _files_of(name)
    return files


def _files_of(module: str) -> list[Path]:
    if module.partition(".")[0] not in PACKAGES:
        return []
    parts = module.split(".")
    files = [ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    files.append(ROOT.joinpath(*parts).with_suffix(".py"))
    return [path for path in files if path.is_file()]
