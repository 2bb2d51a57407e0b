"""The working tree as git sees it: which commit a flow is of, and what no commit holds."""

import contextlib
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.lock_file import LOCK_FILE, entries_of
from pipelines.params.reader import Params, suggest
from t2t.errors import ConfigError, T2TError
from t2t.files import commit, partial_path

PARAMS_FILE = "params.yaml"
_SCALE = re.compile(r"^scale:[ \t]*([^\s#]+)", re.MULTILINE)
_SHOWN = 5


def head_commit(root: Path) -> str | None:
    """The commit that is checked out, None where there is none."""
    answer = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    return None if answer is None else answer.strip()


def is_on_no_remote(root: Path, commit: str) -> bool:
    """Whether no branch of a git remote holds the commit, as far as this checkout knows. Without
    any remote others clone from here."""
    remotes = _git(root, "remote")
    return bool(remotes) and not _git(root, "branch", "--remotes", "--contains", commit)


def committed_order(root: Path) -> list[str]:
    """The stages of the committed dvc.lock, in its order; none where there is no such file."""
    text = _git(root, "show", f"HEAD:{LOCK_FILE}")
    return list(entries_of(text)) if text else []


def uncommitted(root: Path, made: Sequence[Path], scale: str) -> list[str]:
    """Files that differ from the commit, relative to `root`.

    What the graph writes (`made` at `scale`, or the same at any other one) and dvc.lock are left
    out, and params.yaml where nothing but its `scale` is another: a flow changes these itself.
    """
    listed = _git(root, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    if listed is None:
        return ["the whole folder, which is no git repository"]
    names = [entry[3:] for entry in listed.split("\0") if entry]
    own = [Path(LOCK_FILE), *made]
    others = [name for name in names if not any(_is_in(Path(name), path, scale) for path in own)]
    if PARAMS_FILE in others and _differs_in_scale_alone(root):
        others.remove(PARAMS_FILE)
    return others


def refuse_uncommitted(names: Sequence[str]) -> None:
    """Raises ConfigError naming them, where there are any."""
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise ConfigError(
            f"no commit holds {', '.join(names[:_SHOWN])}{more}: commit first, so that the results "
            "are of something that can be had again, or say --allow-dirty to have it written down"
        )


def check_scale(params: Params, scale: str) -> None:
    """Raises ConfigError for a scale that params.yaml lacks."""
    known = params.part("scales", dict)
    if scale not in known:
        raise ConfigError(f"scale {scale!r} is none of {PARAMS_FILE}{suggest(scale, known)}")


def set_scale(root: Path, scale: str) -> None:
    """Has params.yaml ask for `scale`, by its one line. Raises ConfigError for one it lacks."""
    path = root / PARAMS_FILE
    params = Params(path)
    check_scale(params, scale)
    if params.part("scale", str) != scale:
        partial = partial_path(path)
        # Bytes, whose ends of lines stay what they are.
        partial.write_bytes(_with_scale(path.read_bytes().decode(), scale).encode())
        commit(partial, path)


@contextlib.contextmanager
def asking_for(root: Path, scale: str) -> Iterator[Callable[[], None]]:
    """Has params.yaml ask for `scale`; for the one of before again after a block that has not
    called what it is given: a flow that is refused changes nothing.

    Raises ConfigError for a scale that params.yaml lacks.
    """
    before = Params(root / PARAMS_FILE).part("scale", str)
    set_scale(root, scale)
    is_kept = threading.Event()
    try:
        yield is_kept.set
    finally:
        if not is_kept.is_set():
            with contextlib.suppress(T2TError):  # another edit of the file is not ours
                set_scale(root, before)


def _is_in(path: Path, made: Path, scale: str) -> bool:
    """Whether `path` is `made` or below it, whatever stands there for the scale."""
    pairs = zip(path.parts, made.parts, strict=False)
    is_long = len(path.parts) >= len(made.parts)
    return is_long and all(own in (part, scale) for part, own in pairs)


def _differs_in_scale_alone(root: Path) -> bool:
    ours = (root / PARAMS_FILE).read_text(encoding="utf-8")
    committed = _git(root, "show", f"HEAD:{PARAMS_FILE}")
    return committed is not None and _with_scale(ours, "any") == _with_scale(committed, "any")


def _with_scale(text: str, scale: str) -> str:
    return _SCALE.sub(f"scale: {scale}", text, count=1)


def _git(root: Path, *arguments: str) -> str | None:
    answer = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return answer.stdout if answer.returncode == 0 else None
