"""Made-up results for the report's tests."""

from pathlib import Path

import pytest

from tests.reporting.synthetic import Results, table_7, write_results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return write_results(tmp_path / "results", table_7())
