"""What a loaded batch goes through before the network sees it."""

import dataclasses

import numpy as np
import pytest
import torch

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normalize
from t2t.data.loader import Batch
from t2t.data.mixing import MixPolicy, mix_images, parts, plan_mix, soft_targets
from t2t.data.randaugment import parse_policy
from t2t.errors import ConfigError
from t2t.training.step import Preparation

CPU, META = torch.device("cpu"), torch.device("meta")
WHERE = {"seed": 3, "epoch": 2, "step": 5}
RECIPE = Preparation(
    rand_augment=parse_policy("rand-m9-mstd0.5-inc1"),
    fill=(124, 116, 104),
    mix=MixPolicy(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, prob=1.0, group_size=8),
    erasing=ErasePolicy(prob=0.5, area=(0.02, 1 / 3), min_aspect=0.3),
    label_smoothing=0.1,
    num_classes=10,
    batch_size=24,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def loaded(positions=None) -> Batch:
    """The batch, or what stands at some of its positions."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 3, 20, 28), dtype=torch.uint8, generator=rng)
    fields = images, torch.arange(24) % 10, torch.arange(100, 124), torch.arange(24)
    chosen = torch.arange(24) if positions is None else torch.from_numpy(positions)
    return Batch(*(field[chosen] for field in fields))


def test_mixing_comes_before_normalisation_and_erasing_last():
    batch, size = loaded(), {"height_px": 20, "width_px": 28}
    images, targets = RECIPE(batch, **WHERE, device=CPU)
    plan = plan_mix(RECIPE.mix, **WHERE, positions=np.arange(24), batch_size=24, **size)
    assert plan.kinds == {"mixup", "cutmix"}
    sample = {"seed": 3, "epoch": 2, "indices": np.arange(100, 124)}
    expected = normalize(mix_images(batch.images, plan), RECIPE.mean, RECIPE.std)
    boxes = draw_erasing(RECIPE.erasing, **sample, **size)
    assert boxes.any()
    assert torch.equal(images, erase(expected, boxes, **sample))
    assert torch.equal(targets, soft_targets(batch.labels, plan, 10, 0.1))


def test_on_a_cpu_the_loader_has_augmented():
    without = dataclasses.replace(RECIPE, rand_augment=None)
    ours, theirs = (each(loaded(), **WHERE, device=CPU) for each in (RECIPE, without))
    assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("num_parts", [2, 3, 5])
def test_parts_give_what_the_whole_gives(num_parts):
    images, targets = RECIPE(loaded(), **WHERE, device=CPU)
    for positions in parts(24, 8, num_parts):
        part = RECIPE(loaded(positions), **WHERE, device=CPU)
        assert torch.equal(part[0], images[positions])
        assert torch.equal(part[1], targets[positions])


def test_half_a_pair_is_refused():
    with pytest.raises(ConfigError, match="position 0 of a batch of 24 is mixed with that at 7"):
        RECIPE(loaded(np.arange(5)), **WHERE, device=CPU)


def test_elsewhere_it_augments_and_reads_nothing_back(monkeypatch):
    """Tensors of the meta device have no values: reading one raises."""
    augmented = []

    def augment_batch(images, draws, fill):
        augmented.append((images.device, draws.ops.shape, fill))
        return images

    assert RECIPE(loaded(), **WHERE, device=META)[0].shape == (24, 3, 20, 28)
    monkeypatch.setattr("t2t.training.step.augment_batch", augment_batch)
    images, targets = RECIPE(loaded(), **WHERE, device=META)
    assert images.is_meta and targets.is_meta
    assert augmented == [(META, (24, 2), RECIPE.fill)]


def test_images_and_labels_are_sent_without_waiting(monkeypatch):
    sent = []

    def to_device(values, device):
        sent.append((values.shape, device))
        return values.to(device)

    monkeypatch.setattr("t2t.training.step.to_device", to_device)
    RECIPE(loaded(), **WHERE, device=META)
    assert sent == [((24, 3, 20, 28), META), ((24,), META)]
