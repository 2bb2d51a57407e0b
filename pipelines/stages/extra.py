"""extra: the further sets that rows are evaluated on, other labels or images, if there are any."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.evaluation import ExtraSets
from pipelines.params.reader import Params
from pipelines.raw_roots import raw_roots
from t2t.data.shard_manifest import ShardManifest, load_manifest
from t2t.data.shards import write_shard
from t2t.data.sources.imagenet_real import load_real
from t2t.data.sources.imagenet_v2 import load_v2
from t2t.data.sources.source import Source
from t2t.files import write_json

VAL_SHARDS = ("val.beton", "val_fine.beton")


def main(argv: Sequence[str]) -> None:
    """Reads `scales.<scale>.extra_sets`, raw files, and the manifests of the validation shards;
    writes the folder --out: sets.json, which lists the sets, and their files."""
    parser = argparse.ArgumentParser(prog="extra", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--downloads", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    sets = Params(Path("params.yaml")).part(f"scales.{args.scale}.extra_sets", ExtraSets)
    roots = raw_roots(args.downloads)
    manifests = {name: load_manifest(args.shards / name) for name in VAL_SHARDS}
    val = manifests[VAL_SHARDS[0]]
    args.out.mkdir(parents=True, exist_ok=True)
    listed: dict[str, dict[str, str]] = {}
    if sets.real is not None:
        listed["real"] = {"labels": "real.json"}
        known = {"images": val.num_samples, "classes": len(val.classes)}
        labels = load_real(roots, **known, download=sets.real.download)
        write_json(args.out / "real.json", labels)
    if sets.v2 is not None:
        source = load_v2(roots, classes=val.classes, download=sets.v2.download)
        listed["v2"] = _write_v2(source, manifests, args.out)
    write_json(args.out / "sets.json", listed)
    print(f"{args.scale}: {', '.join(listed) or 'no further sets'}")


def _write_v2(source: Source, manifests: dict[str, ShardManifest], out: Path) -> dict[str, str]:
    """Its images, as they are seen, in one shard for each of the validation shards."""
    for name, manifest in manifests.items():
        write_shard(
            source.split("val"),
            out / f"v2_{name}",
            split="val",
            classes=source.classes,
            source_fingerprint=source.fingerprint,
            image_size=manifest.image_size,
            crop_pct=manifest.crop_pct,
        )
    return {name: f"v2_{name}" for name in manifests}
