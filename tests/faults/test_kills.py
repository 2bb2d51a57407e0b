"""Writers that are killed: what they leave is old, new or refused, and the next one goes on."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Kills in the short and in the full form.
COUNTS = {
    "prepared data": (4, 40),
    "a shard": (4, 40),
    "a checkpoint": (10, 100),
    "metrics": (5, 50),
    "a report": (2, 20),
}


@pytest.mark.parametrize(
    "work",
    [pytest.param(work, marks=pytest.mark.faults(f"killed writing {work}")) for work in COUNTS],
)
def test_a_killed_writer_leaves_nothing_half_written(work, all_faults, inject):
    inject("kill", work, COUNTS[work][all_faults])
