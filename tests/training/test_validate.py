"""How a validation set is scored."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from t2t.training.inputs import validation_loader
from t2t.training.loop import Fit
from t2t.training.passes import IMAGES_PER_PASS
from t2t.training.ranks import ALONE
from t2t.training.validate import validate


class Counting(nn.Module):
    """Answers by an image's mean colours; notes how many images it is given at once."""

    def __init__(self):
        super().__init__()
        self.counts: list[int] = []

    def forward(self, images):
        self.counts.append(len(images))
        return images.mean((2, 3))[:, [0] * 10] * torch.arange(10)


def test_a_device_takes_no_more_images_than_it_is_to(shards, monkeypatch):
    """Neither the score nor the order depends on it."""
    model, cpu = Counting(), torch.device("cpu")
    given = (validation_loader(shards), cpu, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    whole = validate(model, *given)
    monkeypatch.setenv(IMAGES_PER_PASS, "25")
    portions = validate(model, *given)
    assert model.counts == [60, 25, 25, 10]
    assert portions.loss == pytest.approx(whole.loss, rel=1e-6)
    assert portions.top1_pct == whole.top1_pct


def test_scores_between_epochs_are_computed_as_the_network_is_trained(shards):
    class Noting(nn.Module):
        def forward(self, images):
            answers = nn.functional.linear(images.mean((2, 3)), torch.ones(10, 3))
            self.dtype = answers.dtype
            return answers

    cpu, model = torch.device("cpu"), Noting()
    precision = SimpleNamespace(autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    fit: Any = SimpleNamespace(
        inputs=SimpleNamespace(
            val=validation_loader(shards),
            preparation=SimpleNamespace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ),
        device=cpu,
        label="run",
        ranks=ALONE,
        state=SimpleNamespace(precision=precision),
    )
    score = Fit._score(fit, model)
    assert model.dtype == torch.bfloat16
    assert score.loss == pytest.approx(math.log(10))
