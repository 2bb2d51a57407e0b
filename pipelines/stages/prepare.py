"""prepare: the scale's data set, or a downstream one, checked and in one known form."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.params.data import DataParams
from pipelines.params.reader import Params
from pipelines.raw_roots import raw_roots
from t2t.data.sources import prepare


def main(argv: Sequence[str]) -> None:
    """Reads `scales.<scale>.data` and raw files; writes the folder --out, and --downloads.

    With --downstream, the set of `scales.<scale>.downstream.<set>`.
    """
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--downstream")
    parser.add_argument("--downloads", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    place = f"scales.{args.scale}" + f".downstream.{args.downstream}" * bool(args.downstream)
    data = Params(Path("params.yaml")).part(f"{place}.data", DataParams)
    manifest = prepare(
        data.source,
        args.out,
        roots=raw_roots(args.downloads),
        **data.model_dump(exclude={"source"}, exclude_none=True),
    )
    images = ", ".join(
        f"{sum(counts.values()):,} {split}" for split, counts in manifest["counts"].items()
    )
    print(f"{data.source}: {images} images of {len(manifest['classes'])} classes")
    if leaked := manifest["leaked_val_images"]:
        print(f"{data.source}: {leaked:,} validation images are training images too")
