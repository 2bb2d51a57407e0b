import pytest
import torch

from pipelines.planning import planner
from tests.pipelines.planning.project import ROWS, TEXT, states


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project of three rows of which everything is up to date, on one core without a GPU."""
    (tmp_path / "params.yaml").write_text(TEXT[: TEXT.index("\nrows:") + 1] + ROWS)
    monkeypatch.setattr(planner, "stage_states", lambda folder: states())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for variable in ("T2T_PROCESSES", "T2T_IMAGES_PER_PASS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("T2T_SLOTS", "1")
    return tmp_path
