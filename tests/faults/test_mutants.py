"""A thousand damaged files: each gives what sound ones do, or one sentence that names it."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
# Mutants in the full form; a tenth of them in the short one.
COUNTS = {
    "raw shard": 130,
    "JPEG shard": 100,
    "shard manifest": 120,
    "prepared data": 100,
    "image file": 100,
    "archive": 100,
    "checkpoint": 100,
    "published weights": 100,
    "finished run": 120,
    "metrics": 120,
    "predictions": 100,
    "measurements": 120,
    "journal": 100,
    "params.yaml": 150,
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.faults(f"damaged: {kind}")) for kind in COUNTS]
)
def test_damage_is_told_or_harmless(kind, all_faults, inject):
    faults = inject("damage", kind, COUNTS[kind] if all_faults else -(-COUNTS[kind] // 10))
    assert any(fault["noticed"] for fault in faults), "nothing was damaged"
