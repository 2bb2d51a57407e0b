import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t2t.errors import ConfigError
from t2t.evaluation.complexity import Complexity, complexity
from t2t.models import create
from tests.nn import reference

# GMACs counted on the official code, or on the network that the paper describes.
GMACS = {
    ("t2t_vit_7", 224): 1.147,
    ("t2t_vit_10", 224): 1.516,
    ("t2t_vit_12", 224): 1.763,
    ("t2t_vit_14", 224): 4.783,
    ("t2t_vit_19", 224): 8.480,
    ("t2t_vit_24", 224): 13.662,
    ("t2t_vit_t_14", 224): 6.089,
    ("t2t_vit_t_19", 224): 9.785,
    ("t2t_vit_t_24", 224): 14.967,
    ("t2t_vit_c_14", 224): 4.586,
    ("t2t_vit_14_wo_t2t", 224): 4.54,
    ("t2t_vit_14_wide", 224): 5.229,
    ("t2t_vit_14_resnext", 224): 4.783,
    ("t2t_vit_14_se", 224): 4.784,
    ("vit_small", 224): 9.889,
    ("vit_base", 224): 17.564,
    ("vit_large", 224): 61.555,
    ("t2t_vit_7", 384): 4.147,
    ("t2t_vit_14", 384): 16.370,
    ("t2t_vit_t_14", 384): 27.827,
}
PARAMETERS_384 = {
    "t2t_vit_7": (4_407_502, 4_255_694),
    "t2t_vit_14": (21_691_470, 21_465_806),
    "t2t_vit_t_14": (21_686_990, 21_465_422),
}


def _on_meta(name, size):
    with torch.device("meta"):
        return create(name, image_size=size)


@pytest.mark.golden
@pytest.mark.parametrize(("name", "size"), GMACS)
def test_macs_are_those_counted_on_the_official_code(name, size):
    macs = complexity(_on_meta(name, size), (size, size)).macs
    assert macs / 1e9 == pytest.approx(GMACS[name, size], rel=1e-3)


@pytest.mark.parametrize(("name", "size"), GMACS)
def test_macs_are_exactly_those_of_the_plain_network(name, size):
    model = _on_meta(name, size).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference.logits(model, torch.empty(1, 3, size, size, device="meta"))
    assert 2 * complexity(model, (size, size)).macs == counter.get_total_flops()


@pytest.mark.golden
@pytest.mark.parametrize("name", PARAMETERS_384)
def test_parameters_at_384(name):
    counts = complexity(_on_meta(name, 384), 384)
    assert (counts.params, counts.params_trainable) == PARAMETERS_384[name]


def test_parameters_with_fewer_classes():
    with torch.device("meta"):
        counts = [complexity(create("t2t_vit_14", num_classes=n), (224, 224)) for n in (10, 100)]
    assert [c.params for c in counts] == [21_164_400, 21_199_050]


def test_any_other_network_is_counted_by_running_it():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 16 * 8, 5))
    network[0].bias.requires_grad_(False)
    expected = Complexity(112 + 2565, 108 + 2565, 16 * 8 * 4 * 27 + 4 * 16 * 8 * 5)
    assert complexity(network, (32, 16)) == expected
    assert network[0].weight.device.type == "cpu"


def test_another_image_size_than_the_networks_is_refused():
    with pytest.raises(ConfigError, match="made for"):
        complexity(_on_meta("t2t_vit_7", 224), 384)
