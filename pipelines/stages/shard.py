"""shard: the prepared images as FFCV shards, one per split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.data import ShardParams
from pipelines.params.reader import Params
from t2t.data.shards import write_shard
from t2t.data.sources import open_prepared


def main(argv: Sequence[str]) -> None:
    """Reads `scales.<scale>.shards` and the folder --raw; writes train and val into --out."""
    parser = argparse.ArgumentParser(prog="shard", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    shards = Params(Path("params.yaml")).part(f"scales.{args.scale}.shards", ShardParams)
    source = open_prepared(args.raw)
    args.out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        write_shard(
            source.split(split),
            args.out / f"{split}.beton",
            split=split,
            classes=source.classes,
            source_fingerprint=source.fingerprint,
            image_size=shards.image_size,
            crop_pct=shards.crop_pct,
        )
