"""The optimiser's groups, the average, checkpoints and the journal, each by itself."""

import json
import os

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from t2t.errors import CheckpointError, EnvironmentProblem
from t2t.models import create
from t2t.training.checkpoint import delete_checkpoints, load_checkpoint, save_checkpoint
from t2t.training.ema import AveragedModel
from t2t.training.journal import Journal, read_journal
from t2t.training.optim import optimizer_of, parameter_groups
from t2t.training.step import reseed
from t2t.training.stopping import stop_on_signal
from t2t.training.workspace import sole_owner
from tests.runs import SHORT


def test_groups_equal_the_papers_code():
    """t2t_vit_14: 66 decayed tensors of 21,412,416 values, 119 undecayed of 53,390."""
    with torch.device("meta"):
        model = create("t2t_vit_14", backbone="t2t_vit")
    decayed, undecayed = parameter_groups(model, SHORT)
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.05, 0.0)
    sizes = [(len(g["params"]), sum(p.numel() for p in g["params"])) for g in (decayed, undecayed)]
    assert sizes == [(66, 21_412_416), (119, 53_390)]


def test_groups_hold_every_trainable_parameter_once():
    model = create("vit_small", image_size=32, num_classes=10, width_factor=0.1)
    groups = parameter_groups(model, SHORT)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    undecayed = {id(p) for p in groups[1]["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in undecayed}
    assert {"cls_token", "pos_embed", "norm.weight", "head.bias"} <= names


class CountedOperations(TorchDispatchMode):
    """The operations that are dispatched in the block; on a GPU each is a launch or a few."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_average_equals_a_plain_loop():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    model[0].bias.requires_grad_(False)
    average = AveragedModel(model, 0.9)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for _ in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model(torch.randn(8, 4))
        average.update()
        for key, value in model.state_dict().items():
            frozen = key in ("0.bias", "1.num_batches_tracked")
            expected[key] = value if frozen else 0.9 * expected[key] + 0.1 * value
    for key, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[key])


def test_average_and_optimiser_take_few_launches():
    """The paper's code takes 2,604 operations a step for T2T-ViT-14."""
    model = create("t2t_vit_14", image_size=32, num_classes=10, width_factor=0.1)
    average = AveragedModel(model, 0.9)
    optimizer = optimizer_of(model, SHORT)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    with CountedOperations() as counted:
        optimizer.step()
        average.update()
    assert {"_fused_adamw_", "_foreach_lerp_"} <= set(counted.names)
    assert len(counted.names) <= 20, counted.names


def test_reseeding_depends_on_seed_step_and_rank_alone():
    def draw(*key):
        reseed(*key)
        return torch.rand(4).tolist()

    assert draw(0, 5, 1) == draw(0, 5, 1)
    draws = {tuple(draw(*key)) for key in [(0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0)]}
    assert len(draws) == 5


def state(step):
    return {"step": step, "weights": torch.full((10,), float(step))}


def test_newest_two_checkpoints_are_kept(tmp_path):
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, state(step))
    assert len(list(tmp_path.iterdir())) == 2
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded["step"] == 30
    delete_checkpoints(tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_one_step_is_kept_once_beside_the_step_before(tmp_path):
    for step, value in ((1, 1), (2, 2), (2, 3)):
        newest = save_checkpoint(tmp_path, step, state(value))
    assert sorted(path.name[:14] for path in tmp_path.iterdir()) == [
        "step_000000001",
        "step_000000002",
    ]
    assert newest.exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_newest_falls_back_to_the_older(tmp_path, damage):
    save_checkpoint(tmp_path, 1, state(1))
    newest = save_checkpoint(tmp_path, 2, state(2))
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    with pytest.warns(UserWarning, match=newest.name):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded["step"] == 1


def test_all_damaged_is_an_error(tmp_path):
    save_checkpoint(tmp_path, 1, state(1)).write_bytes(b"x")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="every checkpoint"):
        load_checkpoint(tmp_path)


def test_failed_save_leaves_the_old_one_alone(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        save_checkpoint(tmp_path, 2, state(2))
    assert [path.suffix for path in tmp_path.iterdir()] == [".pt"]


def test_journal_writes_a_step_once_and_cuts_a_torn_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("epoch", 1, metrics={"loss": 0.1})
    first = path.read_bytes()
    with open(path, "ab") as stream:
        stream.write(b'{"kind": "epoch", "st')
    again = Journal(path)
    again.append("epoch", 1, metrics={"loss": 0.2})
    assert path.read_bytes() == first
    again.append("epoch", 2, metrics={"loss": 0.2})
    assert [event["step"] for event in read_journal(path)] == [1, 2]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_two_owners_are_one_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("t2t.training.workspace.LOCK_PATIENCE_S", 0.1)
    with sole_owner(tmp_path):
        with pytest.raises(EnvironmentProblem, match=f"process {os.getpid()} is training"):
            with sole_owner(tmp_path):
                pass
    with sole_owner(tmp_path):
        pass


def test_signals_become_a_request_and_handlers_come_back():
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        assert stop and stop.signal_name == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
