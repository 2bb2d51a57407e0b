"""measure: what every row's network costs on this machine, all of them side by side."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from pipelines.params.evaluation import Measure
from pipelines.params.reader import Params
from pipelines.params.training import CpuThreads
from t2t.data.shard_manifest import load_manifest
from t2t.evaluation.costs import measure_costs
from t2t.files import sealed, write_json
from t2t.training.config import FINE_VAL_SHARD, VAL_SHARD
from t2t.training.devices import FIRST_PLACE, device_name

SHARD_OF_PHASE = {"train": VAL_SHARD, "fine": FINE_VAL_SHARD}


def main(argv: Sequence[str]) -> None:
    """Reads --networks, the manifests of the validation shards in --shards, and what the scale says
    of threads and batch; writes --out, which is a measurement: it holds its device and date."""
    parser = argparse.ArgumentParser(prog="measure", description=__doc__)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = Params(Path("params.yaml"))
    batch_size = params.part(f"scales.{args.scale}.measure", Measure).batch_size
    torch.set_num_threads(params.part(f"scales.{args.scale}.cpu_threads", CpuThreads))
    manifests = {
        phase: load_manifest(args.shards / shard) for phase, shard in SHARD_OF_PHASE.items()
    }
    networks = {
        row: {
            **{key: value for key, value in network.items() if key != "phase"},
            "image_size": manifests[network["phase"]].image_size,
            "num_classes": len(manifests[network["phase"]].classes),
        }
        for row, network in json.loads(args.networks.read_text()).items()
    }
    device = FIRST_PLACE.device()
    costs = measure_costs(networks, batch_size, device)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "device": device_name(device),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "rows": {row: cost.plain() for row, cost in costs.items()},
    }
    write_json(args.out, sealed(content))
    print(f"{len(costs)} networks on {content['device']}")
