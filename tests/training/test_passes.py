"""How a batch is taken: by how many processes, in which portions."""

import numpy as np
import pytest
import torch

from t2t.models import create
from t2t.training.inputs import _workers
from t2t.training.passes import IMAGES_PER_PASS, has_batch_norm, passes_of
from t2t.training.ranks import Ranks


def taken(count, *, by_groups, batch_size=512):
    """The portions of all processes."""
    return [
        positions.tolist()
        for rank in range(count)
        for positions in passes_of(Ranks(rank, count, None), batch_size, 64, by_groups=by_groups)
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_batch_norms_see_the_same_images_whatever_the_machine(count):
    """Those that one of the paper's eight GPUs saw."""
    eight = taken(8, by_groups=True)
    assert [len(portion) for portion in eight] == [64] * 8
    assert taken(count, by_groups=True) == eight
    assert len(taken(count, by_groups=False)) == count, "others need no portions"


def test_portions_fit_the_device_and_are_equal_where_they_can_be(monkeypatch):
    for at_once, sizes in ((100, {64}), (200, {128}), (170, {128}), (512, {512})):
        monkeypatch.setenv(IMAGES_PER_PASS, str(at_once))
        assert {len(portion) for portion in taken(1, by_groups=False)} == sizes
    monkeypatch.setenv(IMAGES_PER_PASS, "16")
    assert {len(portion) for portion in taken(1, by_groups=True)} == {16}
    monkeypatch.delenv(IMAGES_PER_PASS)
    sizes = [len(portion) for portion in taken(3, by_groups=True)]
    assert sum(sizes) == 512 and len(sizes) == 9 and max(sizes) - min(sizes) <= 2
    whole = np.concatenate(taken(3, by_groups=True))
    assert sorted(whole.tolist()) == list(range(512))


def test_which_networks_have_batch_norms():
    assert has_batch_norm(create("resnet_50", image_size=32, num_classes=10))
    assert not has_batch_norm(create("vit_small", image_size=32, num_classes=10))


def test_reading_threads_are_the_share_that_a_stage_is_told(monkeypatch):
    """Other stages read on the same cores for the other GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("T2T_CORES", "24")
    assert _workers(torch.device("cuda")) == 12
    assert _workers(torch.device("cpu")) == 2
    monkeypatch.setenv("T2T_CORES", "3")
    assert _workers(torch.device("cuda")) == 2
    monkeypatch.setenv("T2T_CORES", "192")
    assert _workers(torch.device("cuda")) == 16
