"""CPU seconds from a fresh process to the first training batch of a shard.

    python benchmarks/ffcv_warmup.py

Compares FFCV as it comes (random resized crop and flip, its JIT on) with this project's two
engines on the same file of 1,437 digits, 32 x 32, batch 64, one worker. CPU seconds of the
process, all threads, the import of torch not counted. Its last figures stand in
benchmarks/README.md.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3

STOCK = """
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
image = [
    RandomResizedCropRGBImageDecoder((32, 32)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()
]
loader = Loader(
    path, batch_size=64, num_workers=1, order=OrderOption.RANDOM, seed=0, os_cache=True,
    pipelines={"image": image, "label": [IntDecoder(), ToTensor(), Squeeze()]},
)
next(iter(loader))
"""

OURS = """
from pathlib import Path
from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader
loader = ShardLoader(
    Path(path), batch_size=64, seed=0, shuffle=True, crop=CropPolicy(), flip_prob=0.5,
    drop_last=True, engine="ENGINE", workers=1,
)
next(loader.epoch(0))
"""

FRAME = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
path, start = sys.argv[1], time.process_time()
BODY
print(time.process_time() - start, flush=True)
os._exit(0)
"""

VARIANTS = {
    "stock FFCV": STOCK,
    "engine ffcv": OURS.replace("ENGINE", "ffcv"),
    "engine torch": OURS.replace("ENGINE", "torch"),
}


def cpu_seconds(body: str, shard: Path) -> float:
    """CPU seconds that one fresh process needs for `body`."""
    command = [sys.executable, "-c", FRAME.replace("BODY", body), str(shard)]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(ran.stdout.split()[-1])


def main() -> None:
    """Write a shard, then measure each variant in turn, several times."""
    from t2t.data.shards import write_shard
    from t2t.data.sources import open_prepared, prepare

    with tempfile.TemporaryDirectory() as folder:
        prepare("digits", Path(folder, "raw"), split_seed=0, val_fraction=0.2)
        source, shard = open_prepared(Path(folder, "raw")), Path(folder, "train.beton")
        write_shard(
            source.split("train"),
            shard,
            split="train",
            classes=source.classes,
            image_size=32,
            source_fingerprint=source.fingerprint,
        )
        taken = {name: [] for name in VARIANTS}
        for _ in range(REPEATS):
            for name, body in VARIANTS.items():
                taken[name].append(cpu_seconds(body, shard))
    for name, seconds in taken.items():
        listed = ", ".join(f"{value:.2f}" for value in seconds)
        print(f"{name:13} median {statistics.median(seconds):6.2f} cpu-s ({listed})")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
