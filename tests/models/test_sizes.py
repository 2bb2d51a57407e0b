"""Exact sizes of every network at 224 pixels and 1000 classes."""

import pytest
import torch

from t2t.evaluation.complexity import complexity
from t2t.models import create, names

# name: (parameters, trainable parameters), counted on the official code where it has the network.
PARAMETERS = {
    "t2t_vit_7": (4_310_222, 4_255_694),
    "t2t_vit_10": (5_889_230, 5_834_702),
    "t2t_vit_12": (6_941_902, 6_887_374),
    "t2t_vit_14": (21_545_550, 21_465_806),
    "t2t_vit_19": (39_177_422, 39_085_070),
    "t2t_vit_24": (64_105_934, 64_000_974),
    "t2t_vit_t_14": (21_541_070, 21_465_422),
    "t2t_vit_t_19": (39_172_942, 39_084_686),
    "t2t_vit_t_24": (64_101_454, 64_000_590),
    "t2t_vit_c_14": (21_421_992, 21_346_344),
    "t2t_vit_14_wo_t2t": (21_449_320, 21_373_672),
    "t2t_vit_14_wide": (25_156_302, 25_000_910),
    "t2t_vit_14_resnext": (21_545_550, 21_465_806),
    "t2t_vit_14_se": (21_803_598, 21_723_854),
    "vit_small": (48_754_408, 48_754_408),
    "vit_base": (86_567_656, 86_567_656),
    "vit_large": (304_326_632, 304_326_632),
}


def test_every_network_has_its_size_here():
    assert set(names()) == set(PARAMETERS)


@pytest.mark.golden
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    with torch.device("meta"):
        size = complexity(create(name), (224, 224))
    assert (size.params, size.params_trainable) == PARAMETERS[name]
