"""Networks, steps and batches of the rows."""

import pytest

from pipelines.environment import ROOT
from pipelines.params.reader import Params
from pipelines.planning import planner
from pipelines.planning.rows import rows_of
from t2t.errors import ConfigError
from t2t.evaluation.complexity import complexity
from t2t.models import create
from tests.pipelines.planning.project import ROWS, with_block


def test_macs_are_the_networks(root):
    for cost in planner.make_plan(root).costs:
        backbone = {"t2t_vit_14": "t2t_vit", "vit_small": "vit", "resnet_50": "cnn"}
        model = create(
            cost.row.name,
            backbone=backbone[cost.row.name],
            image_size=32,
            num_classes=10,
            width_factor=0.25,
            depth_factor=0.3,
        )
        assert cost.row.macs == complexity(model, 32).macs


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("variant: vit_small", "variant: vit_smal", "rows.vit_small.model.variant: t2t/models"),
        ("batch_size: 64", "batch_size: 2048", "rows.vit_small: a batch of 2048 of only 1,437"),
        ("mix_group: 64", "mixgroup: 64", "rows.vit_small.train.mixgroup: unknown key"),
    ],
)
def test_a_rows_mistake_names_its_line(root, old, new, said):
    path = with_block(root, ROWS, ROWS.replace(old, new)).path
    with pytest.raises(ConfigError) as caught:
        planner.make_plan(root)
    line = next(
        n for n, text in enumerate(path.read_text().splitlines(), 1) if "vit_small:" in text
    )
    number = int(str(caught.value).split(":")[1])
    assert said in str(caught.value) and line <= number <= line + 3


def test_a_derived_row_has_its_own_size_stages_and_teacher():
    params = Params(ROOT / "params.yaml")
    rows = {row.name: row for row in rows_of(params, "imagenet", None)}
    fine, plain = rows["t2t_vit_14_384"], rows["t2t_vit_14"]
    assert (fine.arguments["image_size"], plain.arguments["image_size"]) == (384, 224)
    assert fine.train_stage == "train_derived@t2t_vit_14_384"
    assert fine.macs > 3 * plain.macs and fine.work_macs == fine.macs
    taught, teacher = rows["t2t_vit_7_distilled"], rows["resnet_152"]
    assert taught.work_macs == pytest.approx(taught.macs + teacher.macs / 3)
    assert taught.macs == rows["t2t_vit_7"].macs
    assert plain.evaluate_stage == "evaluate@t2t_vit_14"
