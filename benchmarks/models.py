"""How much the lean networks save over the same networks written out plainly.

    python -m benchmarks.models [--compile] [--networks t2t_vit_14 ...]

The plain form is the oracle of the tests (tests/nn/reference.py), run on the same parameters.
Contestants take turns, their order alternates, and medians are compared: of CPU time on a CPU, of
elapsed time between synchronisations on a GPU. Dropout is off on both sides. Peak memory comes
from a fresh process for each figure. Prints a Markdown table.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from t2t.models import create
from tests.nn import reference

MIB = 2**20
Contestants = Mapping[str, Callable[[], object]]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.peak is not None:
        print(_peak_here(arguments.networks[0], arguments.peak, arguments))
        return
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(
        f"{where}, torch {torch.__version__}, float32, {arguments.threads} thread(s), "
        f"{arguments.image_size} px, batch {arguments.batch}, medians of {arguments.repeats}\n"
    )
    forms = ["plain", "lean"] + ["compiled"] * arguments.compile
    print("| network | measure | " + " | ".join(forms) + " | plain / lean |" + arguments.compile * (
        " plain / compiled |"))  # fmt: skip
    print("|---|---|" + "---:|" * (2 * len(forms) - 1))
    for name in arguments.networks:
        for measure, figures in _measures(name, arguments, device):
            shown = [f"{figures[form]:.1f}" if form in figures else "" for form in forms]
            ratios = [
                f"{figures['plain'] / figures[form]:.2f}" if form in figures else ""
                for form in forms[1:]
            ]
            print(f"| {name} | {measure} | " + " | ".join(shown + ratios) + " |", flush=True)


def _measures(name: str, arguments: argparse.Namespace, device: torch.device):
    """Yields a measure's title and its figure for each form of the network."""
    torch.manual_seed(0)
    model = create(name, image_size=arguments.image_size).to(device).eval()
    images = torch.randn(arguments.batch, 3, *model.image_size, device=device)
    whole = {"plain": lambda x: reference.logits(model, x), "lean": model}
    tokens = {"plain": lambda x: reference.tokens(model.tokenizer, x), "lean": model.tokenizer}
    if arguments.compile:
        whole["compiled"] = torch.compile(model)
        tokens["compiled"] = torch.compile(model.tokenizer)

    def training(forward: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def step() -> None:
            model.zero_grad(set_to_none=True)
            forward(images).square().mean().backward()

        return step

    def inference(forward: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.inference_mode()(forward)(images)

    for title, wrap, forwards in (
        ("training step, ms/image", training, whole),
        ("inference, ms/image", inference, whole),
        ("tokens from the image, inference, ms/image", inference, tokens),
    ):
        contestants = {form: wrap(forward) for form, forward in forwards.items()}
        yield title, _times(contestants, arguments, device)
    yield from _memory(name, arguments, model, images)


def _memory(name: str, arguments: argparse.Namespace, model: nn.Module, images: Tensor):
    kept = {
        "plain": _saved_mib(model, lambda: reference.logits(model, images)) / len(images),
        "lean": _saved_mib(model, lambda: model(images)) / len(images),
    }
    yield "activations kept for the backward pass, MiB/image", kept
    again = create(name, image_size=arguments.image_size, recompute=True).to(images.device).eval()
    kept["lean"] = _saved_mib(again, lambda: again(images)) / len(images)
    yield "the same, tokens and activations computed twice (recompute)", kept
    yield (
        "peak memory of inference, MiB",
        {form: _peak_elsewhere(name, form, arguments) for form in ("plain", "lean")},
    )


def _times(
    contestants: Contestants, arguments: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """Median milliseconds per image of each contestant."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    seconds: dict[str, list[float]] = {form: [] for form in contestants}
    order = list(contestants)
    for repeat in range(-arguments.warmup, arguments.repeats):
        for form in order if repeat % 2 else reversed(order):
            _synchronize(device)
            start = clock()
            contestants[form]()
            _synchronize(device)
            if repeat >= 0:
                seconds[form].append(clock() - start)
    return {
        form: 1000 * statistics.median(times) / arguments.batch for form, times in seconds.items()
    }


def _saved_mib(model: nn.Module, forward: Callable[[], Tensor]) -> float:
    """Size of what autograd keeps after `forward`, parameters apart, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()  # alive until all is counted, so that no address is used twice
    total = sum(storages.values()) / MIB
    del output
    return total


def _peak_elsewhere(name: str, form: str, arguments: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "benchmarks.models", "--peak", form, "--networks", name]
    for key in ("device", "threads", "batch", "image_size"):
        command += [f"--{key.replace('_', '-')}", str(getattr(arguments, key))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_here(name: str, form: str, arguments: argparse.Namespace) -> float:
    """MiB that one inference needs at its highest, beyond the network and the images."""
    device = torch.device(arguments.device)
    for size in (32, arguments.image_size):  # a small pass first, for what libraries set up
        model = create(name, image_size=size).to(device).eval()
        images = torch.randn(arguments.batch, 3, *model.image_size, device=device)
        gc.collect()
        before = _memory_now(device, reset=True)
        with torch.inference_mode():
            _ = reference.logits(model, images) if form == "plain" else model(images)
        peak = _memory_peak(device) - before
    return peak


def _memory_now(device: torch.device, reset: bool) -> float:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from here
    return _status_mib("VmRSS")


def _memory_peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    return _status_mib("VmHWM")


def _status_mib(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    networks = ["t2t_vit_7", "t2t_vit_14", "t2t_vit_t_14"]
    parser.add_argument("--networks", nargs="+", default=networks, help="token networks")
    parser.add_argument("--compile", action="store_true", help="also the lean form, compiled")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--peak", choices=["plain", "lean"], help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
