"""The loss against its definition, with and without a teacher."""

import math

import pytest
import torch

from t2t.models import create
from t2t.training.objective import Objective, heads_apart

TARGETS = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5]])


class Fixed(torch.nn.Module):
    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, images):
        return self.answers


def entropy(targets, logits):
    total = 0.0
    for row, answers in zip(targets.tolist(), logits.tolist(), strict=True):
        norm = math.log(sum(math.exp(a) for a in answers))
        total += sum(t * (norm - a) for t, a in zip(row, answers, strict=True))
    return total


@pytest.fixture
def logits():
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def test_without_a_teacher_it_is_soft_cross_entropy(logits):
    loss = Objective()(Fixed(logits), torch.zeros(2, 3, 8, 8), TARGETS)
    assert loss.item() == pytest.approx(entropy(TARGETS, logits), rel=1e-6)


def test_a_teacher_has_half_a_say(logits):
    teacher = Fixed(torch.tensor([[0.0, 1.0, 5.0], [3.0, 2.0, 1.0]]))
    taught = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    loss = Objective(teacher)(Fixed(logits), torch.zeros(2, 3, 8, 8), TARGETS)
    expected = (entropy(TARGETS, logits) + entropy(taught, logits)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_network_of_two_heads_is_asked_for_both():
    images = torch.randn(2, 3, 32, 32)
    size = {"image_size": 32, "num_classes": 3, "width_factor": 0.1, "depth_factor": 0.1}
    single, double = (create(f"deit_small{kind}", **size).eval() for kind in ("", "_distilled"))
    assert heads_apart(single) is single
    both = heads_apart(double)(images)
    assert both.shape == (2, 2, 3)
    torch.testing.assert_close(both.mean(1), double(images))


@pytest.mark.parametrize("has_teacher", [False, True])
def test_two_heads_learn_from_the_labels_and_the_teacher(logits, has_teacher):
    teacher = Fixed(torch.tensor([[0.0, 1.0, 5.0], [3.0, 2.0, 1.0]])) if has_teacher else None
    of_teacher = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]) if has_teacher else TARGETS
    heads = torch.stack([logits, logits.flip(0)], dim=1)
    loss = Objective(teacher)(Fixed(heads), torch.zeros(2, 3, 8, 8), TARGETS)
    expected = (entropy(TARGETS, logits) + entropy(of_teacher, logits.flip(0))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)
