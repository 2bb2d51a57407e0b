import math

import pytest

from t2t.nn.position import sinusoid


def test_sinusoid_against_its_formula():
    table = sinusoid(5, 6)
    assert table.shape == (1, 5, 6)
    for p in range(5):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            assert table[0, p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[0, p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)
