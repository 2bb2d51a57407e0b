"""The first-party files that a module reads when it is imported, found without running it."""

from modulefinder import ModuleFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def import_closure(entry: Path) -> set[Path]:
    """Every file of this project that importing `entry` reads, inside functions too."""
    finder = ModuleFinder(path=[str(ROOT)])
    finder.run_script(str(entry))
    files = {Path(module.__file__) for module in finder.modules.values() if module.__file__}
    return {path for path in files if path.is_relative_to(ROOT)} | {entry}
