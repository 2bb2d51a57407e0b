"""Says what `dvc repro` would do, and for how long, before anything runs.

    python -m pipelines.plan [--images-per-s 6000] [--devices 8] [--price-per-hour 2.5]

Shows which stages are stale and why, carried down the graph, and for each row its optimiser steps
and images; with a speed, measured or given, hours; with a price, money; with --memory, the memory
of a training step. Runs nothing and writes nothing.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence

from pipelines.environment import ROOT
from t2t.errors import ConfigError, T2TError


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the plan; the exit code is the error's class, as everywhere."""
    try:
        args = _arguments(argv)
        # These import torch and DVC, which --help need not wait for.
        from pipelines.planning.planner import make_plan
        from pipelines.planning.report import as_values
        from pipelines.planning.text import as_text

        plan = make_plan(
            ROOT,
            scale=args.scale,
            images_per_s=args.images_per_s,
            reference_row=args.reference_row,
            devices=args.devices,
            price_per_h=args.price_per_hour,
            with_memory=args.memory,
        )
    except T2TError as error:
        print(f"plan: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(as_values(plan), indent=2) if args.json else as_text(plan))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", help="another scale than params.yaml's; all of it counts then")
    parser.add_argument("--images-per-s", type=float, help="training images/s on one device")
    parser.add_argument("--reference-row", help="whose speed that is; t2t_vit_14 if not given")
    parser.add_argument("--devices", type=int, help="how many there are, if not this computer's")
    parser.add_argument("--price-per-hour", type=float, help="of one device, in any currency")
    parser.add_argument("--memory", action="store_true", help="also memory, in a minute or so")
    parser.add_argument("--json", action="store_true", help="unrounded, and every stage's reasons")
    args = parser.parse_args(argv)
    for option, value in (
        ("--images-per-s", args.images_per_s),
        ("--devices", args.devices),
        ("--price-per-hour", args.price_per_hour),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{option} must be a number above 0, not {value}")
    if args.reference_row and args.images_per_s is None:
        raise ConfigError("--reference-row says whose speed --images-per-s is: give that too")
    return args


if __name__ == "__main__":
    sys.exit(main())
