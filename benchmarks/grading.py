"""How long does a class take to grade, in how much memory, and does the same work always get the same points?

    python -m benchmarks.grading

A class of thirty hands mtls-setup in: most solved it, each for a variant of their own; some stopped in the middle, some
handed in the stub. `labkit grade` executes and judges them, two at a time. Memory is that of the command and all that it
started, together; pages that processes share are counted in parts.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from labkit.course import notebooks

if TYPE_CHECKING:
    from collections.abc import Sequence

COURSE = Path(__file__).resolve().parent.parent
SLUG = "mtls-setup"
SECONDS, MEGABYTES = 180, 2048
"""What is promised for thirty submissions on two cores."""

TICK = 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: What came out.
        promised: What was promised, if anything.
    """

    what: str
    value: str
    promised: str = "-"


def measure(*, submissions: int = 30, rounds: int = 10) -> list[Row]:
    """Grade a class once, and one of its notebooks again and again.

    Args:
        submissions: How many hand in.
        rounds: How often the one is graded.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as top:
        folder = Path(top)
        wanted = hand_in(folder / "class", submissions)
        seconds, cpu, memory = graded(folder, "class")
        got = points(folder / "class.csv")
        assert wanted == {student: got[student] > 0 for student in wanted}
        scores = set()
        hand_in(folder / "one", 1)
        for _ in range(rounds):
            graded(folder, "one", "--fresh")
            scores.add(tuple((folder / "one.csv").read_text(encoding="utf-8").splitlines()))
    return [
        Row(f"{submissions} submissions, jobs 2, seconds", f"{seconds:.0f}", str(SECONDS)),
        Row(
            "processor time of that, seconds (without what lived for less than a moment)",
            f"{cpu:.0f}",
            str(2 * SECONDS),
        ),
        Row("memory at its most, MB", f"{memory >> 20}", str(MEGABYTES)),
        Row(f"different results of one notebook, graded {rounds} times", str(len(scores)), "1"),
    ]


def hand_in(folder: Path, count: int) -> dict[str, bool]:
    """Write the notebooks of a class; return who of it earns points."""
    (source,) = (s for s in notebooks.sources(COURSE / "notebooks/exercises/source") if s.slug == SLUG)
    solved, stub = notebooks.solved(source), notebooks.student(source)
    half: Any = json.loads(solved)
    half["cells"] = half["cells"][: len(half["cells"]) // 2]
    earns = {}
    for number in range(count):
        student = f"student{number:02}"
        (folder / student).mkdir(parents=True)
        text = {4: json.dumps(half), 9: stub}.get(number % 10, solved)
        (folder / student / f"{SLUG}.ipynb").write_text(text, encoding="utf-8")
        earns[student] = text != stub
    return earns


def graded(folder: Path, name: str, *more: str) -> tuple[float, float, int]:
    """Grade a folder; return seconds, processor time and the most memory."""
    words = ["grade", name, "--csv", f"{name}.csv", "--html", f"{name}.html", "--jobs", "2", *more]
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit", *words],
        cwd=folder,
        env={**os.environ, "LABKIT_COURSE": str(COURSE)},
        stdout=subprocess.DEVNULL,
    )
    watch = _Watch(process.pid)
    watch.start()
    status = process.wait()
    seconds = time.monotonic() - started
    watch.stop.set()
    watch.join()
    assert status == 0, f"labkit grade ended with {status}"
    return seconds, sum(watch.cpu.values()), watch.memory


class _Watch(threading.Thread):
    """Adds up what a process and all its descendants take; what lives shorter than a tick is missed."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid = pid
        self.stop = threading.Event()
        self.memory = 0
        self.cpu: dict[tuple[int, float], float] = {}

    def run(self) -> None:
        """Look, again and again."""
        while not self.stop.wait(TICK):
            total = 0
            try:
                family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
            except psutil.Error:
                return
            for process in family:
                try:
                    total += process.memory_full_info().pss
                    times = process.cpu_times()
                    self.cpu[process.pid, process.create_time()] = times.user + times.system
                except psutil.Error:
                    continue
            self.memory = max(self.memory, total)


def points(table: Path) -> dict[str, float]:
    """Return the machine's points by student."""
    with table.open(encoding="utf-8", newline="") as file:
        return {line["student"]: float(line["machine"]) for line in csv.DictReader(file)}


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| what | measured | promised |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {row.what} | {row.value} | {row.promised} |" for row in rows)])


if __name__ == "__main__":
    print(table(measure()))
