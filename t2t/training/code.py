"""Which code decides a result: the files of this package that a module imports, near and far."""

from modulefinder import ModuleFinder
from pathlib import Path

import t2t
from t2t.files import sha256_file


def code_files(*modules: str) -> dict[str, Path]:
    """Module names and files of this package that importing `modules` would read.

    Imports inside functions count. The sources are read, not run, so that the answer does not
    depend on what else a process has imported.
    """
    package = Path(t2t.__file__).parent
    finder = ModuleFinder(path=[str(package.parent)])
    for module in modules:
        finder.import_hook(module)
    found = {}
    for name, module in finder.modules.items():
        path = getattr(module, "__file__", None)
        if path and Path(path).is_relative_to(package):
            found[name] = Path(path)
    return found


def code_hashes(*modules: str) -> dict[str, str]:
    """SHA-256 of each of `code_files`, by module name."""
    return {name: sha256_file(path) for name, path in code_files(*modules).items()}
