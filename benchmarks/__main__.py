"""Measure everything and write docs/performance.md.

python -m benchmarks              all of it, a few minutes
python -m benchmarks issuance     one part; the others keep what was measured before
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

PARTS = {
    "issuance": (
        "Identities for a fleet",
        "The promise is 200 times the script's rate, with two files a device and the ledger, files in memory for both.",
    ),
    "broker_start": (
        "A broker that is ready",
        "What the guard adds is the price of leaving no broker behind.",
    ),
    "crl": (
        "Revocation lists",
        "Short lists are cheap, and short lives keep lists short: an entry leaves when its certificate has run out.",
    ),
    "handshakes": (
        "Handshakes",
        "Every kind of key with a broker of its own; no session is resumed, so every handshake is a full one.",
    ),
    "provisioning": (
        "Enrolments",
        "The promise is at most 2.6 times the floor.",
    ),
    "load": (
        "A fleet at the broker",
        "No reading may be lost; the rest is what it is, on one machine that carries the broker, the fleet and the observer.",
    ),
    "load_cluster": (
        "A fleet at a cluster",
        "No reading may be lost here either; what it costs to ask about everybody is in the columns.",
    ),
    "factory": (
        "A factory line",
        "The promises are in the table; rows without one do more than they speak of.",
    ),
    "signing": (
        "Signing and verifying an image",
        "The promise is at most 3 times the SHA-256 of the same bytes, for each row that has one.",
    ),
    "board": (
        "The virtual board",
        "The promise is 1 MB of random data through the stub in under 4 seconds.",
    ),
    "grading": (
        "A class, graded",
        "The promise is thirty submissions in three minutes on two cores, in 2 GiB; and one result for one notebook.",
    ),
    "whole_run": ("The whole course", "From a bare clone, then again."),
}


def main(chosen: list[str]) -> None:
    """Measure the parts that were chosen, or all: each in a process of its own, with memory that nobody used before."""
    chosen = chosen or list(PARTS)
    if len(chosen) > 1:
        for part in chosen:
            subprocess.run([sys.executable, "-m", "benchmarks", part], check=True)
        return
    sections = _sections()
    for part in chosen:
        print(f"measuring {part} …", file=sys.stderr)
        module = importlib.import_module(f"benchmarks.{part}")
        title, words = PARTS[part]
        what = " ".join((module.__doc__ or "").split("\n\n")[-1].split())
        stamp = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} processors, {platform.system()}, "
        stamp += f"Python {platform.python_version()}. By `python -m benchmarks {part}`."
        sections[part] = f"## {title}\n\n{words}\n{what}\n\n{stamp}\n\n{module.table(module.measure())}\n"
    body = "\n".join(f"<!-- {part} -->\n{sections[part]}" for part in PARTS if part in sections)
    PAGE.write_text(
        "# Performance\n\nWritten by `python -m benchmarks`, never by hand.\n"
        "Only numbers of one table belong together: machines differ, and the same machine differs from day to day.\n\n"
        f"{body}",
        encoding="utf-8",
    )


def _sections() -> dict[str, str]:
    if not PAGE.exists():
        return {}
    parts = re.split(r"<!-- (\w+) -->\n", PAGE.read_text(encoding="utf-8"))[1:]
    return {name: text.rstrip("\n") + "\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    main(sys.argv[1:])
