"""Reading a shard in a test, and telling what was read."""

import hashlib

from t2t.data.crops import CropPolicy
from t2t.data.loader import ShardLoader

ENGINES = ("torch", "ffcv")


def loader(path, **arguments) -> ShardLoader:
    given = {
        "batch_size": 8,
        "seed": 1,
        "shuffle": True,
        "crop": CropPolicy(),
        "flip_prob": 0.5,
        "drop_last": False,
        "engine": "torch",
    }
    return ShardLoader(path, **given | arguments)


def fingerprint(batches) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for tensor in batch:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def by_sample(batches) -> dict[int, tuple[bytes, int]]:
    return {
        int(index): (image.numpy().tobytes(), int(label))
        for batch in batches
        for image, label, index, _ in zip(*batch, strict=True)
    }
