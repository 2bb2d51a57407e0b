"""Whether shards were written from the raw data that lies beside them now.

DVC sees to that where it walks the graph. `dvc repro --single-item`, which runs stages side by
side, and a run by hand do not.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from t2t.errors import DataError

# The three splits' files, as far as they are there.
_SHARDS = "*.beton.json"


def check_freshness(arguments: Sequence[str], root: Path) -> None:
    """Looks at the shards that a stage's `--shards data/shards/<scale>` names.

    Raises DataError where data/raw/<scale> has another fingerprint than one of them. Nothing is
    compared where either is missing or unreadable: that is for their readers to say.
    """
    if "--shards" not in arguments[:-1]:
        return
    shards = root / arguments[arguments.index("--shards") + 1]
    raw = shards.parent.parent / "raw" / shards.name / "manifest.json"
    current = _value(raw, "fingerprint")
    _, _, downstream = shards.name.partition(".")
    stage = f"shard_downstream@{downstream}" if downstream else "shard"
    for manifest in sorted(shards.glob(_SHARDS)):
        made_from = _value(manifest, "source_fingerprint")
        if current is not None and made_from is not None and made_from != current:
            raise DataError(
                f"{manifest.with_suffix('')}: written from other raw data than {raw.parent} holds; "
                f"run `dvc repro {stage}`"
            )


def _value(path: Path, key: str) -> str | None:
    try:
        return json.loads(path.read_text())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
