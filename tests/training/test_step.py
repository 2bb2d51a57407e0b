"""In which arithmetic a step is made, and what is carried from one to the next."""

import pytest
import torch
from torch import nn

from t2t.training.devices import FIRST_PLACE
from t2t.training.ema import AveragedModel
from t2t.training.step import Precision, TrainingState


def test_bfloat16_that_a_gpu_only_emulates_is_not_used(monkeypatch):
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: enabled)
    assert Precision(torch.device("cuda")).scaler


def state(scaled: bool, scale: float) -> TrainingState:
    model = nn.Linear(2, 2)
    precision = Precision(torch.device("cpu"))
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scaled)
    optimizer = torch.optim.AdamW(model.parameters())
    return TrainingState(model, AveragedModel(model, 0.9), optimizer, precision)


@pytest.mark.parametrize(
    ("saved", "resumed", "scale"),
    [(False, True, 8.0), (True, False, 1.0), (True, True, 4.0)],
)
def test_a_run_goes_on_in_another_precision(saved, resumed, scale):
    new = state(resumed, 8.0)
    new.load_state_dict(state(saved, 4.0).state_dict())
    assert new.precision.scaler.get_scale() == scale


def test_float32_on_a_gpu_is_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    FIRST_PLACE.device()
    assert not torch.backends.cudnn.allow_tf32
