"""What networks there are, as the check of params.yaml knows them without importing PyTorch."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import torch
import torchvision

from pipelines.params import networks
from t2t import models

ROOT = Path(__file__).resolve().parents[2]


def test_networks_are_those_of_the_models_package():
    """Read as text, they are what an import finds."""
    assert networks.backbones() == sorted(models.backbones())
    for backbone in networks.backbones():
        table = importlib.import_module(f"t2t.models.{backbone}").VARIANTS
        assert networks.variants(backbone) == {
            name: networks.Variant(dataclasses.asdict(config), get_type_hints(type(config)))
            for name, config in table.items()
        }


def test_parts_are_those_of_a_backbones_networks():
    for backbone in networks.backbones():
        if (parts := networks.parts(backbone)) is None:
            assert backbone == "cnn"
            continue
        found = set()
        for variant in networks.variants(backbone):
            with torch.device("meta"):
                network = models.create(variant, backbone=backbone, depth_factor=0.1)
            found |= {name.partition(".")[0] for name, _ in network.named_parameters()}
        assert found == parts


def test_a_computed_table_is_imported(monkeypatch, tmp_path):
    (tmp_path / "vit.py").write_text("VARIANTS: dict = make()\n")
    monkeypatch.setattr(networks, "_MODELS", tmp_path)
    written = networks.variants("vit")
    assert networks.variants.__wrapped__("vit") == written


def test_teachers_are_torchvisions():
    assert networks.torchvision_models() == set(torchvision.models.list_models())


def test_the_check_brings_no_pytorch():
    """It comes before every stage, most of which need none."""
    code = "import sys, pipelines.check as c; c.main(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.stdout.splitlines()[-1:] == ["False"], answer.stderr
