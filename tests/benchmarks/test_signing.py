"""benchmarks.signing: the program that measures works, and signing costs little beside the hash."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmarks import signing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tool


def test_table_is_made(openssl: Path) -> None:
    """A short run gives a line each, and signing and verifying stay near their promise even then."""
    del openssl
    rows = signing.measure(rounds=5, clock=time.process_time)
    times = {row.variant: row.times for row in rows}
    assert signing.HASH == next(iter(times))
    assert max(times[name] for name in signing.PROMISED) < 2 * signing.PROMISE
    assert len(signing.table(rows).splitlines()) == 2 + len(rows)
