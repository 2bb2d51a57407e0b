"""What git must not see."""

from pathlib import Path

from dvc.repo import Repo

ROOT = Path(__file__).resolve().parents[2]


def test_what_dvc_keeps_is_ignored_by_a_line_of_ours():
    """Else DVC adds a .gitignore beside it, which no commit holds: the next flow refuses that."""
    with Repo(str(ROOT)) as repo:
        kept = {
            Path(out.fs_path).relative_to(ROOT).as_posix()
            for out in repo.index.outs
            if out.use_cache
        }
    assert len(kept) > 100
    lines = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line]
    folders = [line.strip("/") for line in lines if line.startswith("/") and line.endswith("/")]
    missing = {
        path for path in kept if not any(Path(path).is_relative_to(folder) for folder in folders)
    }
    assert missing == set()
