"""shard: the prepared images as FFCV shards, and validation images for fine-tuning once more."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.data import ShardParams, TrainShardParams
from pipelines.params.reader import ImageSize, Params
from pipelines.raw_roots import raw_roots
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared
from t2t.data.stored_forms import JpegForm
from t2t.data.twins import KnownImages


def main(argv: Sequence[str]) -> None:
    """Reads `scales.<scale>.shards` and `.fine.image_size`, and the folder --raw; writes the shards
    train, val and val_fine into --out.

    With --downstream, `scales.<scale>.downstream.<set>.shards` alone, and no val_fine.
    """
    parser = argparse.ArgumentParser(prog="shard", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--downstream")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--downloads", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    place = f"scales.{args.scale}" + f".downstream.{args.downstream}" * bool(args.downstream)
    shards = params.part(f"{place}.shards", ShardParams)
    source = open_prepared(args.raw, raw_roots(args.downloads))
    args.out.mkdir(parents=True, exist_ok=True)
    known: KnownImages = {}
    # Validation images are the paper's view of them, and all of them. Training images are rendered
    # to any size from one shard.
    wanted = [
        ("train", "train", shards.image_size, shards.train),
        ("val", "val", shards.image_size, TrainShardParams()),
    ]
    if not args.downstream:
        fine_size = params.part(f"{place}.fine.image_size", ImageSize)
        wanted.append(("val_fine", "val", fine_size, TrainShardParams()))
    for name, split, image_size, kept in wanted:
        manifest = write_shard(
            source.split(split),
            args.out / f"{name}.beton",
            split=split,
            classes=source.classes,
            source_fingerprint=source.fingerprint,
            image_size=image_size,
            crop_pct=shards.crop_pct,
            jpeg=_jpeg_form(kept),
            unreadable=kept.unreadable,
            known=known,
        )
        for warning in manifest.warnings() if name == split else []:
            print(f"Warning: {warning}")


def _jpeg_form(kept: TrainShardParams) -> JpegForm | None:
    if kept.quality is None:
        return None
    return JpegForm(kept.max_side_px, kept.quality)
