"""What networks cost on this machine, measured side by side: memory, latency, throughput.

The paper gives parameters and MACs alone. All networks take turns in every round, so that what
else the machine does falls on all of them, and medians over the rounds are given.
"""

import copy
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from t2t.evaluation.complexity import Complexity, complexity
from t2t.evaluation.memory import Alive
from t2t.training.config import network_of
from t2t.training.ema import AveragedModel
from t2t.training.objective import Objective, heads_apart
from t2t.training.step import Precision

ROUNDS = 5
# A pass over one image is short: so many in each round.
SINGLE_PASSES = 5
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """A network's cost at its image size: peaks in bytes at a full batch, seconds of a pass over
    one image, and images per second of a full batch."""

    complexity: Complexity
    train_peak: int
    infer_peak: int
    latency_s: float
    images_per_s: float
    batch_size: int

    def plain(self) -> dict[str, float | int]:
        """As it is reported."""
        return {
            "params_m": self.complexity.params / 1e6,
            "macs_g": self.complexity.macs / 1e9,
            "train_peak_mib": self.train_peak / MIB,
            "infer_peak_mib": self.infer_peak / MIB,
            "latency_ms": 1000 * self.latency_s,
            "images_per_s": self.images_per_s,
            "batch_size": self.batch_size,
        }


@dataclass(frozen=True)
class Subject:
    """A network under measurement, lying on the CPU between its turns, with one image and a full
    batch of noise (B, 3, H, W)."""

    model: nn.Module
    one: Tensor
    batch: Tensor
    num_classes: int


def measure_costs(
    networks: Mapping[str, Mapping[str, Any]],
    batch_size: int,
    device: torch.device,
    rounds: int = ROUNDS,
) -> dict[str, Cost]:
    """The cost of each network, by name; `networks` are arguments of `network_of`.

    Networks of equal arguments but for their names are measured once. Inference is in float32, as
    rows are evaluated; training in the precision that training has on the device. Memory is what
    the device's allocator had at most; on a CPU, whose allocator does not tell, what tensors held
    at most.
    """
    distinct = {_key(arguments): arguments for arguments in networks.values()}
    subjects = {key: _subject(arguments, batch_size) for key, arguments in distinct.items()}
    peaks = {
        key: (training_peak(subject, device), inference_peak(subject, device))
        for key, subject in subjects.items()
    }
    latency: dict[str, list[float]] = {key: [] for key in subjects}
    batch: dict[str, list[float]] = {key: [] for key in subjects}
    for number in range(rounds):
        order = list(subjects.items())
        for key, subject in order if number % 2 else reversed(order):
            with _on(subject, device) as there:
                latency[key] += _seconds(there.model, there.one, device, SINGLE_PASSES)
                batch[key] += _seconds(there.model, there.batch, device, 1)
    found = {
        key: Cost(
            complexity(subject.model, tuple(subject.one.shape[2:])),
            *peaks[key],
            statistics.median(latency[key]),
            batch_size / statistics.median(batch[key]),
            batch_size,
        )
        for key, subject in subjects.items()
    }
    return {name: found[_key(arguments)] for name, arguments in networks.items()}


def _key(arguments: Mapping[str, Any]) -> str:
    return repr(sorted(arguments.items()))


def _subject(arguments: Mapping[str, Any], batch_size: int) -> Subject:
    torch.manual_seed(0)
    model = network_of(arguments).eval()
    size = arguments["image_size"]
    images = torch.randn(batch_size, 3, size, size)
    return Subject(model, images[:1].clone(), images, arguments["num_classes"])


@contextmanager
def _on(subject: Subject, device: torch.device) -> Iterator[Subject]:
    """The subject on `device`, for as long as the block lasts."""
    if device.type == "cpu":
        yield subject
        return
    model = copy.deepcopy(subject.model).to(device)
    yield Subject(model, subject.one.to(device), subject.batch.to(device), subject.num_classes)


def _seconds(model: nn.Module, images: Tensor, device: torch.device, times: int) -> list[float]:
    """Elapsed time of each of so many forward passes; one before them warms up."""
    found = []
    with torch.inference_mode():
        model(images)
        for _ in range(times):
            _wait(device)
            start = time.perf_counter()
            model(images)
            _wait(device)
            found.append(time.perf_counter() - start)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_peak(subject: Subject, device: torch.device) -> int:
    """Bytes at the height of a step of AdamW with averaged weights on a full batch, weights,
    average, moments and the batch among them."""

    def step() -> None:
        model = copy.deepcopy(subject.model).to(device).train()
        average = AveragedModel(model, 0.999)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, fused=True)
        _make_moments(optimizer, trained)
        images = subject.batch.to(device, copy=True)
        targets = torch.full((len(images), subject.num_classes), 1 / subject.num_classes)
        precision = Precision(device)
        with precision.autocast():
            loss = Objective()(heads_apart(model), images, targets.to(device))
        precision.scaler.scale(loss).backward()
        precision.scaler.step(optimizer)
        average.update()

    return _peak(step, device, subject.model)


def _make_moments(optimizer: torch.optim.Optimizer, trained: list[nn.Parameter]) -> None:
    """AdamW makes its moments at the end of its first step; every later one has them throughout."""
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def inference_peak(subject: Subject, device: torch.device) -> int:
    """Bytes at the height of a forward pass over a full batch, weights and the batch among them."""

    def work() -> None:
        model = copy.deepcopy(subject.model).to(device)
        images = subject.batch.to(device, copy=True)
        with torch.inference_mode():
            model(images)

    return _peak(work, device, subject.model)


def _peak(work: Callable[[], None], device: torch.device, original: nn.Module) -> int:
    """Bytes at the height of `work`, which copies the network `original`."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with Alive(original) as alive:
        work()
    return alive.most_bytes
