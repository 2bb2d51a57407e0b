"""In which arithmetic a step is made, and what is carried from one to the next."""

import torch

from t2t.training.step import Precision


def test_bfloat16_that_a_gpu_only_emulates_is_not_used(monkeypatch):
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: enabled)
    assert Precision(torch.device("cuda")).scaler
