"""How fast training batches come from shards, against the ways people read ImageNet.

    python -m benchmarks.loader [--photos DIR] [--rounds N] [--only NAME ...]

Every contestant reads the same photographs on the same cores with two workers: random resized crop
to 224 pixels and flip, bytes out, batches of 64. A round runs each in a process of its own, one
after the other; the rounds alternate their order, and medians are compared. `DIR` holds a folder of
images for each class; without it 1,200 JPEG files of 0.14 to 0.19 megapixels are made from
scikit-learn's two photographs with noise.

Printed: images per second; images per core-second, of the process and its workers; CPU seconds from
the import of torch to the first batch. Before the clock runs, one epoch warms everything up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SIZE_PX, BATCH, WORKERS, RAW_PX = 224, 64, 2, 256
POLICY = "rand-m9-mstd0.5-inc1"
BASELINE = "ImageFolder, DataLoader, Pillow"

# Batches without end of which only the number of images is wanted: an epoch's number to its images.
Reader = Callable[[int], Iterator[int]]


@dataclass(frozen=True)
class Folder:
    """Photographs as an `ImageFolder` finds them, as a split for the shard writer."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.paths[index]), self.labels[index]

    def path_of(self, index: int) -> str:
        return self.paths[index]


def _image_folder(place: Path, transform: Any) -> Reader:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    images = ImageFolder(str(place / "photos"), transform)
    options: dict[str, Any] = {"shuffle": True, "drop_last": True, "num_workers": WORKERS}
    return lambda _: (len(labels) for _, labels in DataLoader(images, BATCH, **options))


def pillow(place: Path) -> Reader:
    """What most people do, and torchvision's reference scripts."""
    from torchvision import transforms as T

    steps = [T.RandomResizedCrop(SIZE_PX), T.RandomHorizontalFlip(), T.PILToTensor()]
    return _image_folder(place, T.Compose(steps))


def timm_recipe(place: Path) -> Reader:
    """The paper's own code: RandAugment, bilinear or bicubic at random."""
    from timm.data.transforms_factory import create_transform

    options = {"auto_augment": POLICY, "interpolation": "random", "use_prefetcher": True}
    return _image_folder(place, create_transform(SIZE_PX, is_training=True, **options))


def stock_ffcv(kind: str) -> Callable[[Path], Reader]:
    """FFCV as its documentation has it, on our shard."""

    def reader(place: Path) -> Reader:
        from ffcv.fields.basics import IntDecoder
        from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

        decoder = RandomResizedCropRGBImageDecoder((SIZE_PX, SIZE_PX))
        loader = Loader(
            str(place / f"{kind}.beton"),
            batch_size=BATCH,
            num_workers=WORKERS,
            order=OrderOption.RANDOM,
            os_cache=True,
            drop_last=True,
            pipelines={
                "image": [decoder, RandomHorizontalFlip(), ToTensor(), ToTorchImage()],
                "label": [IntDecoder(), ToTensor(), Squeeze()],
            },
        )
        return lambda _: (len(labels) for _, labels in loader)

    return reader


def ours(kind: str, engine: Any, augmented: bool = False) -> Callable[[Path], Reader]:
    """This project's loader."""

    def reader(place: Path) -> Reader:
        from t2t.data.crops import CropPolicy
        from t2t.data.loader import ShardLoader
        from t2t.data.randaugment import parse_policy

        loader = ShardLoader(
            place / f"{kind}.beton",
            batch_size=BATCH,
            seed=0,
            shuffle=True,
            crop=CropPolicy(),
            flip_prob=0.5,
            drop_last=True,
            image_size=SIZE_PX,
            augment=parse_policy(POLICY) if augmented else None,
            engine=engine,
            workers=WORKERS,
        )
        return lambda epoch: (len(batch.labels) for batch in loader.epoch(epoch))

    return reader


CONTESTANTS: dict[str, Callable[[Path], Reader]] = {
    BASELINE: pillow,
    "the same, timm's RandAugment recipe": timm_recipe,
    "FFCV as it comes, jpg": stock_ffcv("jpg"),
    "this project, jpg, engine ffcv": ours("jpg", "ffcv"),
    "this project, jpg, engine torch": ours("jpg", "torch"),
    "the same with RandAugment": ours("jpg", "torch", augmented=True),
    "FFCV as it comes, raw": stock_ffcv("raw"),
    "this project, raw, engine ffcv": ours("raw", "ffcv"),
    "this project, raw, engine torch": ours("raw", "torch"),
}


def measure(make: Callable[[Path], Reader], place: Path, seconds: float) -> dict[str, float]:
    """One contestant's figures, of whole epochs that take `seconds` together, in this process."""
    import torch  # noqa: F401  # not counted

    warnings.simplefilter("ignore")
    began = _cpu_seconds()
    reader = make(place)
    warm_up = reader(0)
    next(warm_up)
    first_batch = _cpu_seconds() - began
    for _ in warm_up:
        pass
    images, epoch = 0, 1
    cpu, clock = _cpu_seconds(), time.perf_counter()
    while time.perf_counter() - clock < seconds:
        images += sum(reader(epoch))
        epoch += 1
    wall = time.perf_counter() - clock
    cpu = _cpu_seconds() - cpu
    return {"per_s": images / wall, "per_core_s": images / cpu, "first_batch_cpu_s": first_batch}


def _cpu_seconds() -> float:
    """Of this process, of the children it has had, and of those it has."""
    mine = os.times()
    alive = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(mine[:4]) + sum(times.user + times.system for times in alive)


def make_photographs(folder: Path, count: int = 1200) -> None:
    """JPEG files of the sizes and lengths that ImageNet has, in ten classes."""
    from sklearn.datasets import load_sample_images

    sources = [Image.fromarray(image) for image in load_sample_images().images]
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = ((430, 323), (500, 333), (500, 375))[number % 3]
        high = int(rng.integers(200, 427))
        wide = high * width // height
        left, top = int(rng.integers(0, 641 - wide)), int(rng.integers(0, 428 - high))
        view = sources[number % 2].crop((left, top, left + wide, top + high))
        pixels = np.asarray(view.resize((width, height), Image.Resampling.BICUBIC))
        noisy = (pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
        path = folder / f"{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(path, quality=92)


def make_shards(place: Path) -> None:
    """jpg: at most 400 px a side, quality 90. raw: squares of 256 px."""
    from t2t.data.shards import write_shard
    from t2t.data.stored_forms import JpegForm

    photos = place / "photos"
    classes = tuple(sorted(folder.name for folder in photos.iterdir() if folder.is_dir()))
    paths = [(str(path), label) for label, name in enumerate(classes)
             for path in sorted((photos / name).iterdir())]  # fmt: skip
    samples = Folder(*map(tuple, zip(*paths, strict=True)))
    for kind, form in (("jpg", JpegForm(400, 90)), ("raw", None)):
        manifest = write_shard(
            samples,
            place / f"{kind}.beton",
            split="train",
            classes=classes,
            image_size=RAW_PX if form is None else SIZE_PX,
            source_fingerprint="0" * 64,
            jpeg=form,
        )
        each = manifest.bytes / manifest.num_samples / 1000
        print(f"{kind}: {manifest.num_samples:,} images, {each:.0f} kB each", flush=True)


def run_rounds(place: Path, names: Sequence[str], rounds: int, seconds: float) -> dict:
    """For each contestant a list of its figures, one for each round."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            command = [sys.executable, "-m", "benchmarks.loader", "--run", name]
            command += ["--place", str(place), "--seconds", str(seconds)]
            ran = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            figures[name].append(json.loads(ran.stdout.splitlines()[-1]))
    return figures


def table(figures: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: medians, their ratio to the baseline, and the range over the rounds."""
    keys = ("per_s", "per_core_s", "first_batch_cpu_s")
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in keys}
        for name, runs in figures.items()
    }
    base = medians.get(BASELINE)
    lines = [
        "| Loader | images/s | × | images per core-s | × | first batch, CPU-s |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, median in medians.items():
        cells = []
        for key in keys[:2]:
            seen = [run[key] for run in figures[name]]
            cells.append(f"{median[key]:,.0f} ({min(seen):,.0f} to {max(seen):,.0f})")
            cells.append(f"{median[key] / base[key]:.2f}" if base else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {median[keys[2]]:.2f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of images for each class")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement, at least")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--run", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.run:
        print(json.dumps(measure(CONTESTANTS[arguments.run], arguments.place, arguments.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if arguments.photos:
            (place / "photos").symlink_to(arguments.photos.resolve())
        else:
            make_photographs(place / "photos")
        make_shards(place)
        print(table(run_rounds(place, arguments.only, arguments.rounds, arguments.seconds)))


if __name__ == "__main__":
    main()
