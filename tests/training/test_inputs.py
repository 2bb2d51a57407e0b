"""The data of a run, as its recipe asks for it."""

import dataclasses

import pytest
import torch

from t2t.data.randaugment import draw_ops, parse_policy
from t2t.data.randaugment_batched import augment_batch
from t2t.errors import DataError
from t2t.training.inputs import inputs_of
from tests.runs import changed, with_fine_images

CPU, META = torch.device("cpu"), torch.device("meta")
AUGMENT = "rand-m9-mstd0.5-inc1"


@pytest.mark.parametrize("normalization", ["imagenet", "cifar", "measured"])
def test_the_loader_augments_as_a_gpu_does(config, shards, normalization):
    """`meta` stands for a GPU, where images leave the loader as they are."""
    config = changed(config, rand_augment=AUGMENT, normalization=normalization)
    here, elsewhere = (inputs_of(config, shards, device) for device in (CPU, META))
    (ours, *_), (plain, *_) = (inputs.train.epoch(0) for inputs in (here, elsewhere))
    ops = draw_ops(parse_policy(AUGMENT), seed=0, epoch=0, indices=plain.indices.numpy())
    theirs = augment_batch(plain.images, ops, elsewhere.preparation.fill)
    assert not torch.equal(theirs, plain.images)
    assert torch.equal(ours.images, theirs)


def test_validation_images_of_another_size_are_refused(config, shards, tmp_path):
    fine = with_fine_images(shards, tmp_path, 60)
    with pytest.raises(DataError, match=r"val_fine\.beton: holds images of 48 pixels .* 64"):
        inputs_of(dataclasses.replace(config, image_size=64), fine, CPU)
