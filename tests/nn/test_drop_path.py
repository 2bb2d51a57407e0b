"""Stochastic depth: whole samples, unbiased, off when evaluating."""

import pytest
import torch

from t2t.nn.drop_path import DropPath


def test_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(20_000, 2, 3)
    y = DropPath(0.25).train()(x)
    assert y.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (y == y[:, :1, :1]).all()
    assert y.mean().item() == pytest.approx(1.0, abs=0.02)


def test_identity_when_evaluating_or_at_rate_0():
    x = torch.randn(4, 5)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0).train()(x) is x
