"""How long does `lab.py run` take, from a bare clone and again?

    python -m benchmarks.whole_run

Cold means: a fresh clone, no environment, nothing fetched by us; what pip and uv keep in their own caches is theirs.
Other work on the machine adds to every row: where one lies above its promise, measure that lesson alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COURSE = Path(__file__).resolve().parent.parent
FIRST = ("start-here",)
SECURED = ("tls", "certificate-authority", "mutual-tls", "revocation")

RUNS = (
    # what is said of it, the words, and how many seconds are promised on two cores
    ("`lab.py run start-here`, cold", ("run", *FIRST), 180),
    ("`lab.py run start-here`, warm", ("run", *FIRST), 30),
    (f"`lab.py run {' '.join(SECURED)}`", ("run", *SECURED), 120),
    ("`lab.py run provisioning`", ("run", "provisioning"), 60),
    ("`lab.py run esp32-flashing`", ("run", "esp32-flashing"), 90),
    ("`lab.py run firmware-signing`", ("run", "firmware-signing"), 90),
    ("`lab.py run threat-model segmentation audit`", ("run", "threat-model", "segmentation", "audit"), 120),
    ("`lab.py run`, every lesson", ("run",), None),
    ("`lab.py --version`, the second start", ("--version",), 1),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was run, and how many seconds it took."""

    variant: str
    seconds: float
    limit: float | None


def measure() -> list[Row]:
    """Clone, run, run again, and start twice more to see what a start adds.

    Raises:
        subprocess.CalledProcessError: A run did not end with every claim held.
    """
    hidden = ("LABKIT_HOME", "LABKIT_COURSE", "LABKIT_WORKSPACE", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    with tempfile.TemporaryDirectory() as top:
        clone = Path(top) / "course"
        subprocess.run(["git", "clone", "--quiet", str(COURSE), str(clone)], check=True)
        rows = []
        for variant, words, limit in RUNS:
            started = time.monotonic()
            subprocess.run(
                [sys.base_prefix + "/bin/python3", str(clone / "lab.py"), *words],
                check=True,
                env=env,
                capture_output=True,
            )
            rows.append(Row(variant, time.monotonic() - started, limit))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| what | seconds | promised |", "| --- | ---: | ---: |"]
    lines += [
        f"| {row.variant} | {row.seconds:.1f} | {'-' if row.limit is None else row.limit} |" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
