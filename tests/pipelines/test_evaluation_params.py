"""params.yaml: published weights, further sets, and the size of the measured batch."""

import pytest
import torch

from pipelines.check import check_params
from pipelines.environment import ROOT
from pipelines.params.reader import Params
from pipelines.params.table import ReleasedRow
from t2t.errors import ConfigError
from t2t.models import create
from tests.released import with_released_rows

TEXT = with_released_rows((ROOT / "params.yaml").read_text())
ROW = "released.t2t_vit_14_released"
URL = "weights: https://github.com/yitu-opensource/T2T-ViT/releases/download/main/81.5_T2T_ViT_14"


@pytest.fixture
def write(tmp_path):
    def written(text: str):
        (tmp_path / "params.yaml").write_text(text)
        return tmp_path / "params.yaml"

    return written


def test_the_authors_weights_are_right_once_the_comments_are_off(write):
    """All ten files of theirs that are for ImageNet alone, each beside the row of its network."""
    params = check_params(write(TEXT))
    rows = {name: params.part(f"released.{name}", ReleasedRow) for name in params.tree["released"]}
    assert len(rows) == len({row.weights for row in rows.values()}) == 10
    for name, row in rows.items():
        assert name == f"{row.baseline}_released"
        section = "derived" if row.phase == "fine" else "rows"
        assert params.tree[section][row.baseline]["model"] == row.model.model_dump(
            exclude={"overrides"}
        )
        with torch.device("meta"):
            create(row.model.variant, backbone=row.model.backbone)
        # A file's name begins with its rounded figure.
        named = float(row.weights.rpartition("/")[2].partition("_")[0])
        assert row.expected_top1_pct == pytest.approx(named, abs=0.06)


MISTAKES = {
    "unknown key": ("    expected_top1_pct: 81.5", "    expects: 1", [ROW, "unknown key"]),
    "no checksum": (
        f"{URL}.pth.tar\n    sha256: null",
        f"{URL}.pth.tar\n    sha256: abc",
        [f"{ROW}.sha256", "'abc'"],
    ),
    "unknown baseline": (
        "81.50\n    baseline: t2t_vit_14\n",
        "81.50\n    baseline: t2t_vit_15\n",
        [f"{ROW}.baseline", "'t2t_vit_15' is no other row"],
    ),
    "unknown phase": ("phase: fine\n    weights", "phase: finer\n    weights", [".phase", "finer"]),
    "a name twice": ("  t2t_vit_14_released:", "  t2t_vit_14:", ["stands in rows too"]),
    "a derived name": ("  t2t_vit_14_released:", "  t2t_vit_14_384:", ["stands in derived too"]),
    "sets of another scale": (
        "extra_sets: {}",
        "extra_sets: {real: {}}",
        ["scales.digits.extra_sets", "for the data of imagenet, not digits"],
    ),
    "unknown set": ("v2: {download: true}", "v3: {}", ["imagenet.extra_sets.v3", "unknown key"]),
    "no batch": ("batch_size: 48}", "batch_size: 0}", ["digits.measure.batch_size", "got 0"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(write, mistake):
    right, wrong, said = MISTAKES[mistake]
    assert right in TEXT
    with pytest.raises(ConfigError) as caught:
        check_params(write(TEXT.replace(right, wrong, 1)))
    message = str(caught.value)
    assert "\n" not in message and message.startswith("params.yaml:")
    for part in said:
        assert part in message, message


def test_rows_that_are_only_commented_out_are_no_rows():
    assert Params(ROOT / "params.yaml").tree["released"] == {}
