"""A copy of the project at a scale of seconds, and DVC run in it as a user would."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.environment import project_environment

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "seeds: [0, 1, 2]": "seeds: [0]",
    "epochs: 17": "epochs: 2",
    "cooldown_epochs: 1\n": "cooldown_epochs: 0\n",
    "warmup_epochs: 2\n": "warmup_epochs: 1\n",
    "epochs: 6,": "epochs: 1,",
    "val_fraction: 0.2": "val_fraction: 0.9",
    "width_factor: 0.25": "width_factor: 0.1",
    "depth_factor: 0.3": "depth_factor: 0.1",
}
ROWS = """tables: []
claims: {}
released: {}
analyses:
  t2t_vit_14: {images: 64, removal_images: 128}
rows:
  t2t_vit_14:
    title: T2T-ViT-14
    model: {backbone: t2t_vit, variant: t2t_vit_14}
    train: {}
    baseline: null
    paper: {table: 7, block: T2T, top1_pct: 81.5, params_m: 21.5, macs_g: 4.8, delta_pct: 2.0}
  vit_small:
    title: ViT-S/16
    model: {backbone: vit, variant: vit_small}
    train: {}
    baseline: t2t_vit_14
    paper: null
derived:
  t2t_vit_14_384:
    title: T2T-ViT-14 at 384
    needs: t2t_vit_14
    role: weights
    phase: fine
    model: {backbone: t2t_vit, variant: t2t_vit_14}
    train: {}
    baseline: t2t_vit_14
    paper: null
transfers:
  cifar10_t2t_vit_14:
    title: T2T-ViT-14 on CIFAR-10
    needs: t2t_vit_14
    set: cifar10
    recipe: paper
    start: trained
    model: {backbone: t2t_vit, variant: t2t_vit_14}
    train: {epochs: 1}
    paper: null
"""
# What is said of the other downstream sets, wherever that is.
OTHER_SETS = re.compile(r"^( +)(cifar100|flowers102):\n(\1 +.*\n)+", re.MULTILINE)


class Project:
    """A working copy below `folder`."""

    patience_s = 300

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = project_environment(
            {**os.environ, "T2T_SLOTS": "1", "OMP_NUM_THREADS": "1"}, folder
        )
        self.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/data/mlflow/mlflow.db"
        self.environment["DVC_SITE_CACHE_DIR"] = str(folder / ".site_cache")

    @classmethod
    def created(cls, folder: Path) -> "Project":
        """A copy of the project's files with what trains in seconds: two rows, one derived, and a
        transfer."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if not name.startswith(("reports/", "tests/")) and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_file():
                    shutil.copyfile(ROOT / name, folder / name)
        project = cls(folder)
        text = project.read("params.yaml")
        for right, small in SMALL.items():
            assert right in text, right
            text = text.replace(right, small)
        text = OTHER_SETS.sub("", text[: text.index("rows:")])
        project.write("params.yaml", text + ROWS)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        return project

    def copied(self, folder: Path) -> "Project":
        """The same state in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)  # DVC's outputs may be links into its cache
        path.write_text(text)

    def edit(self, name: str, right: str, wrong: str) -> None:
        text = self.read(name)
        assert right in text, right
        self.write(name, text.replace(right, wrong, 1))

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            timeout=self.patience_s,
        )  # fmt: skip

    def start_dvc(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts DVC under the name `dvc`, as its own session."""
        with open(self.folder / "dvc.log", "ab") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).parent / "dvc"), *arguments],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def repro(self, *arguments: str) -> list[str]:
        """The stages that `dvc repro` ran; fails where it fails."""
        result = self.dvc("repro", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return re.findall(r"Running stage '([^']+)'", result.stdout)

    def stale(self) -> set[str]:
        return set(json.loads(self.dvc("status", "--json").stdout))
