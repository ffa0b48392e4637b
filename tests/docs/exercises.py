"""The table of README that counts the short exercises by kind; `scripts/count-exercises` writes it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from labkit.course.lesson import KINDS
from labkit.course.lessons import find, slugs

README, SOURCES = Path("README.md"), Path("notebooks/source")
BEGIN, END = "<!-- exercises: scripts/count-exercises writes this table -->\n", "<!-- end of exercises -->"

WORDS = {
    "fill-in": "write what is missing, then compare it with the tested twin",
    "tweak": "change one thing, and see what follows",
    "bug-hunt": "find what a colleague overlooked",
    "break-it": "attack it",
    "defend-it": "make it hold, while those who belong there still get in",
}


def table() -> str:
    """Return the table."""
    kinds = {
        exercise: kind
        for path in SOURCES.glob("*.py")
        for exercise, kind in re.findall(
            r'exercise="([^"]+)" kind="([^"]+)"', path.read_text(encoding="utf-8")
        )
    }
    checks = [check for slug in slugs() for check in find(slug).checks]
    every = Counter(kinds[check.id] for check in checks)
    core = Counter(kinds[check.id] for check in checks if check.required)
    rows = [f"| *{kind}* | {WORDS[kind]} | {core[kind]} | {every[kind] - core[kind]} |" for kind in KINDS]
    total = f"| together | | {core.total()} | {every.total() - core.total()} |"
    return "\n".join(
        ["| kind | what you do | on the core path | optional |", "| --- | --- | --- | --- |", *rows, total]
    )


def written(text: str) -> str:
    """Return README with the table as it should be."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
