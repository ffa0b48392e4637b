"""benchmarks.issuance: the program that measures works, and what it measures stays far above the script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import issuance

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tool


def test_table_is_made(openssl: Path, tmp_path: Path) -> None:
    """A short run gives one line a competitor, and labkit is far ahead of the script even then."""
    rows = issuance.measure(rounds=1, fleet=100, scripted=2, folder=tmp_path)
    rates = {row.variant: row.per_cpu_second for row in rows}
    assert [
        issuance.SCRIPT, issuance.ON_DISK, issuance.STORED, issuance.UNSTORED, issuance.LIMIT
    ] == list(rates)  # fmt: skip
    assert rates[issuance.SCRIPT] * 10 < rates[issuance.STORED] < rates[issuance.LIMIT]
    assert len(issuance.table(rows).splitlines()) == 7
