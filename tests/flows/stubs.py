"""Projects of stages that take no time: a folder with a graph, for DVC as it is."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.environment import project_environment

# One that others wait for, some side by side, one that waits for them all.
FIRST, LAST = "first", "last"


def stub_stages(count: int, work: str = "true") -> dict[str, Any]:
    """`count` stages side by side between two others, with every kind of output that we use; each
    does `work` first."""
    cmd = f"{work}; mkdir -p out/d${{item}} && cat a out/first > out/d${{item}}/x; "
    return {
        FIRST: {"cmd": "mkdir -p out && cp a out/first", "deps": ["a"], "outs": ["out/first"]},
        "mid": {
            "foreach": list(range(count)),
            "do": {
                "cmd": cmd + "echo ${item} > out/m${item}.json; echo ${item} > out/t${item}",
                "deps": ["a", "out/first"],
                "outs": ["out/d${item}", {"out/t${item}": {"cache": False}}],
                "metrics": [{"out/m${item}.json": {"cache": False}}],
                "meta": {"gpus": 1, "minutes": 2},
            },
        },
        LAST: {
            "cmd": "cat out/m*.json > out/last",
            "deps": [f"out/m{item}.json" for item in range(count)],
            "outs": ["out/last"],
        },
    }


class Stub:
    """A git repository with DVC in `folder`, and a graph of `stages`."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def created(cls, folder: Path, stages: Mapping[str, Any]) -> "Stub":
        """A new one, committed."""
        folder.mkdir(parents=True)
        stub = cls(folder)
        (folder / "a").write_text("a\n")
        (folder / ".gitignore").write_text("/out\n/data\n/.site_cache\n")
        stub.run("git", "init", "-q")
        stub.run(sys.executable, "-m", "dvc", "init", "-q")
        stub.set_stages(stages)
        stub.commit()
        return stub

    def set_stages(self, stages: Mapping[str, Any]) -> None:
        (self.folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", *("-c", "user.name=x", "-c", "user.email=x"), "commit", "-qm", "x")

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words)

    def run(self, *words: str) -> str:
        environment = project_environment(os.environ, self.folder)
        environment["DVC_SITE_CACHE_DIR"] = str(self.folder / ".site_cache")
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def cached(self) -> set[str]:
        """The names of all that is in DVC's cache."""
        cache = self.folder / ".dvc" / "cache"
        return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
