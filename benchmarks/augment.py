"""The recipe's augmentation: RandAugment over a batch against Pillow's, and what follows it.

    python -m benchmarks.augment [--device cuda] [--batch 128] [--repeats 20]

Crops of scikit-learn's two photographs. On a CPU: images per core-second, one thread, CPU time.
On a GPU: images per second between two synchronisations, the draws on the host included, Pillow
still on one core of the CPU beside it. The two sides take turns; medians and ranges of the
repeats. Prints a Markdown table.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from t2t.data.augment import ErasePolicy, draw_erasing, erase, normalize
from t2t.data.mixing import MixPolicy, mix_images, plan_mix, soft_targets
from t2t.data.randaugment import augment_image, draw_ops, fill_colour, parse_policy
from t2t.data.randaugment_batched import augment_batch
from t2t.training.devices import device_name

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RAND_AUGMENT = parse_policy("rand-m9-mstd0.5-inc1")
MIXING = MixPolicy(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, prob=1.0, group_size=64)
ERASING = ErasePolicy(prob=0.25, area=(0.02, 1 / 3), min_aspect=0.3)
FILL = fill_colour(MEAN)

# Does the work of a step, given its number.
Work = Callable[[int], object]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    pixels = _crops(arguments.batch, arguments.image_size)
    on_cpu, on_device = {"RandAugment, Pillow": _by_pillow(pixels)}, _on_device(pixels, device)
    gpu = device.type == "cuda"
    print(
        f"{device_name(device)}, torch {torch.__version__}, {arguments.image_size} px, "
        f"batch {arguments.batch}, medians of {arguments.repeats} and ranges\n"
    )
    print("| what | images per core-second |" + gpu * " images per second |")
    print("|---|---:|" + gpu * "---:|")
    seconds: dict[str, list[float]] = {name: [] for name in (*on_cpu, *on_device)}
    for step in range(-1, arguments.repeats):
        for name, work in (*on_cpu.items(), *on_device.items()):
            clock = _gpu_clock if gpu and name in on_device else time.process_time
            began = clock()
            work(step % arguments.repeats)
            # The first turn pays for imports and allocations.
            seconds[name] += [clock() - began] * (step >= 0)
    for name, times in seconds.items():
        rates = sorted(arguments.batch / one for one in times)
        figure = f"{statistics.median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"
        print(f"| {name} | " + ("| " if gpu and name in on_device else "") + f"{figure} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=20)
    return parser.parse_args()


def _crops(count: int, side: int) -> np.ndarray:
    """(count, side, side, 3) uint8"""
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    crops = []
    for photograph in itertools.islice(itertools.cycle(photographs), count):
        top, left = (int(rng.integers(length - side + 1)) for length in photograph.shape[:2])
        crops.append(photograph[top : top + side, left : left + side])
    return np.stack(crops)


def _by_pillow(pixels: np.ndarray) -> Work:
    """From array to array, as the loader does it."""
    out, indices = np.empty_like(pixels), np.arange(len(pixels))

    def work(step: int) -> None:
        draws = draw_ops(RAND_AUGMENT, seed=0, epoch=step, indices=indices)
        for row, image in enumerate(pixels):
            out[row] = np.asarray(augment_image(Image.fromarray(image), draws[row], FILL))

    return work


def _on_device(pixels: np.ndarray, device: torch.device) -> dict[str, Work]:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)
    indices, labels = np.arange(len(images)), torch.arange(len(images), device=device)
    size = {"height_px": images.shape[2], "width_px": images.shape[3]}
    normal = normalize(images, MEAN, STD)

    def augment(step: int) -> object:
        draws = draw_ops(RAND_AUGMENT, seed=0, epoch=step, indices=indices)
        return augment_batch(images, draws, FILL)

    def mix(step: int) -> object:
        where = {"seed": 0, "epoch": 0, "step": step, "batch_size": len(images)}
        plan = plan_mix(MIXING, **where, positions=indices, **size)
        return mix_images(images, plan), soft_targets(labels, plan, 1000, 0.1)

    def erase_some(step: int) -> object:
        where = {"seed": 0, "epoch": step, "indices": indices}
        return erase(normal, draw_erasing(ERASING, **where, **size), **where)

    return {
        "RandAugment, batched": augment,
        "mixing": mix,
        "normalisation": lambda _: normalize(images, MEAN, STD),
        "erasing": erase_some,
    }


def _gpu_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
