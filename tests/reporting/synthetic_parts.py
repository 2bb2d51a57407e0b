"""Made-up costs, differences, transfers and analyses in the real formats, and claims on Table 7."""

import io
import json
import random
import statistics
from pathlib import Path
from typing import Any

from PIL import Image

from t2t.files import sealed, sha256_file
from t2t.reporting.infos import ClaimInfo, TableInfo, TransferInfo, TransferPaper
from tests.reporting.synthetic import DIGITS, Results, write_csv, write_sealed

CLAIMS = {
    "module": ClaimInfo("The T2T module", "effect", "Table 7", "t2t_vit_14", "t2t_vit_14_wo_t2t"),
    "deep": ClaimInfo("Deep and narrow", "effect", "Table 7", "t2t_vit_14", "t2t_vit_14_wide"),
    "absent": ClaimInfo("Over ViT-S", "effect", "Table 2", "t2t_vit_14", "vit_small"),
    "said": ClaimInfo(
        "The module alone",
        "effect",
        "elsewhere",
        "t2t_vit_14",
        "t2t_vit_14_wo_t2t",
        2.1,
        "Not 2.1.",
    ),
    "figure": ClaimInfo("81.5", "figure", "text", "t2t_vit_14"),
    "remark": ClaimInfo("Heads are alike", "remark", "elsewhere"),
}
TABLES = (
    TableInfo(
        "7",
        "The T2T module",
        {
            "T2T module": ("t2t_vit_14_wo_t2t", "t2t_vit_14", "t2t_vit_t_14", "t2t_vit_c_14"),
            "Deep-narrow": ("t2t_vit_14", "t2t_vit_14_wide"),
        },
    ),
    TableInfo("2", "Against ViT", {"Small": ("vit_small", "t2t_vit_14")}),
)
TRANSFERS = {
    "cifar10_t2t_vit_14": TransferInfo(
        "T2T-ViT-14 to CIFAR-10", "t2t_vit_14", "CIFAR-10", TransferPaper("5", 97.5)
    ),
    "cifar10_vit_small": TransferInfo(
        "ViT-S/16 to CIFAR-10", "vit_small", "CIFAR-10", TransferPaper("5", 97.1)
    ),
    "flowers_t2t_vit_14": TransferInfo("T2T-ViT-14 to Flowers-102", "t2t_vit_14", "Flowers-102"),
}
NOT_TRANSFERRED = "cifar10_vit_small"
ANALYSED, NOT_ANALYSED = "t2t_vit_14", "vit_small"
ALL_PARTS = {
    "claims": CLAIMS,
    "tables": TABLES,
    "transfers": TRANSFERS,
    "analyses": (ANALYSED, NOT_ANALYSED),
}


def write_parts(results: Results) -> None:
    """Writes every part beside the rows' results, but for what the constants name as absent."""
    write_differences(results)
    write_costs(results)
    write_transfers(results)
    write_analysis(results, ANALYSED)


def write_differences(results: Results, **changed) -> None:
    difference = {
        "baseline": "t2t_vit_14_wo_t2t",
        "seeds": 3,
        "delta_pct": 1.5,
        "low_pct": 0.5,
        "high_pct": 2.5,
        "over": "seeds and images",
    }
    content = {"t2t_vit_14": difference | changed}
    _write_sealed(results.folder / "differences.json", content)


def write_costs(results: Results) -> None:
    rows = {
        row: {
            "params_m": 0.1 + number,
            "macs_g": 0.2 + number,
            "train_peak_mib": 100.0 + number,
            "infer_peak_mib": 20.0 + number,
            "latency_ms": 1.5 + number,
            "images_per_s": 900.0 - 40 * number,
            "batch_size": 64,
        }
        for number, row in enumerate(results.rows)
    }
    content = {"device": "Made-up 4-core CPU", "torch": "2.14.1", "date": "2026-11-01"}
    _write_sealed(results.folder / "costs.json", content | {"rows": rows})


def write_transfers(results: Results) -> None:
    folder = results.folder / "transfers"
    curves = folder / "curves"
    curves.mkdir(parents=True)
    for number, (name, info) in enumerate(TRANSFERS.items()):
        if name == NOT_TRANSFERRED:
            continue
        tops = [90.0 + number, 91.0 + number]
        lines = [
            [s, top, 99.0, top - 0.5, 98.5, 0.4, f"{number}{s}" * 8] for s, top in enumerate(tops)
        ]
        names = "seed,top1_pct,top5_pct,top1_raw_pct,top5_raw_pct,loss,digest"
        write_csv(folder / f"{name}.csv", names, lines)
        write_csv(curves / f"{name}.csv", "seed,epoch,val_top1_pct", [[0, 0, 50.0 + number]])
        content = {
            "transfer": name,
            "scale": DIGITS.name,
            "needs": info.needs,
            "set": info.set_title,
            "recipe": "paper",
            "seeds": 2,
            "top1_pct": statistics.fmean(tops),
            "top1_std_pct": statistics.stdev(tops),
            "top1_low_pct": 84.15 + number,
            "top1_high_pct": 96.85 + number,
            "interval_over": "seeds",
            "top5_pct": 99.0,
            "top1_raw_pct": 90.0 + number,
            "loss": 0.4,
            "params_m": 0.4,
            "num_classes": 10,
            "val_images": 360,
            "train_images": 1437,
        }
        tables = (place / f"{name}.csv" for place in (folder, curves))
        write_sealed(folder / f"{name}.json", content, *tables)


def write_analysis(results: Results, row: str) -> None:
    folder = results.folder / "analyses" / row
    folder.mkdir(parents=True)
    draw = random.Random(row)
    seeds = [{"seed": k, "base_top1_pct": 95.0, "layers": _layers(draw)} for k in range(3)]
    rho = {"rho": -0.3, "low": -0.6, "high": 0.1, "heads": 18}
    pair = {"all": rho, "within_layers": rho | {"rho": None, "low": None, "high": None}}
    content = {
        "row": row,
        "scale": DIGITS.name,
        "images": 256,
        "removal_images": 360,
        **seeds[0],
        "other_seeds": seeds[1:],
        "all_seeds": {
            "seeds": [0, 1, 2],
            "heads": 18,
            "mean_similarity": 0.7,
            "mean_drop_pct": 0.4,
            "mean_loss_rise": 0.02,
            "rank_correlation": {"drop_pct": pair, "loss_rise": pair},
        },
    }
    names = ["tokens_1.png", "tokens_2.png", *(f"features_{n}.png" for n in (1, 2, 3))]
    for name in names:
        picture = io.BytesIO()
        Image.new("RGB", (40, 20), "#8888ff").save(picture, "PNG")
        (folder / name).write_bytes(picture.getvalue())
    listed = [{"file": name, "title": f"Title {name}", "alt": f"Alt {name}"} for name in names]
    (folder / "images.json").write_text(json.dumps(listed))
    content["files"] = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    _write_sealed(folder / "redundancy.json", content)


def _write_sealed(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(sealed(content)))


def _layers(draw: random.Random, heads: int = 2) -> list[dict]:
    return [
        {
            "layer": layer,
            "module": f"blocks.{layer}",
            "heads": heads,
            "similarity": [[1.0, 0.7], [0.7, 1.0]],
            "cka": [[1.0, 0.7], [0.7, 1.0]],
            "head_similarity": [draw.uniform(0.3, 0.9) for _ in range(heads)],
            "mean_similarity": 0.7,
            "mean_cka": 0.7,
            "drop_pct": [draw.uniform(-0.2, 2) for _ in range(heads)],
            "loss_rise": [draw.uniform(0, 0.1) for _ in range(heads)],
            "channels": 64,
            "dead_channels_pct": 3.1,
            "saturated_channels_pct": 0.0,
        }
        for layer in (1, 2, 3)
    ]
