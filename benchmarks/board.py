"""How fast do the real tools work on the virtual board?

    python -m benchmarks.board

Wall clock of whole processes of the real esptool and espefuse, the board in another process, as it is with `board run`;
medians. RFC 2217 is slow by its client: pyserial sets all of the port's parameters anew for every command.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.board import running_at
from labkit.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: The command.
        transport: How the board is connected.
        seconds: How long it took; the median.
        promise: How long it may take, where there is a promise.
    """

    what: str
    transport: str
    seconds: float
    promise: float | None = None


@contextmanager
def _board(folder: Path) -> Iterator[dict[str, str]]:
    env = {**os.environ, "LABKIT_WORKSPACE": str(folder / "lab")}
    command = [sys.executable, "-m", "labkit", "board", "run", "--no-application", "--rfc2217", "--json"]
    command += ["--pty", str(folder / "tty")]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        deadline = Deadline(30)
        while not (told := running_at(folder / "lab" / "boards" / "board")) and not deadline.passed:
            deadline.pause(0.05)
        try:
            yield told["ports"]
        finally:
            process.send_signal(signal.SIGINT)


def _seconds(rounds: int, *words: str) -> float:
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run([str(BIN / words[0]), *words[1:]], check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def measure(*, rounds: int = 5, megabyte: int = 1 << 20) -> list[Row]:
    """Measure the commands that lessons use most."""
    with tempfile.TemporaryDirectory(prefix="labkit-board-") as scratch:
        folder = Path(scratch)
        (folder / "random.bin").write_bytes(random.Random(1).randbytes(megabyte))  # noqa: S311 - no key
        (folder / "text.bin").write_bytes(b"the same words again and again; " * (megabyte // 32))
        (folder / "sector.bin").write_bytes(random.Random(2).randbytes(0x1000))  # noqa: S311
        rows = []
        with _board(folder) as ports:
            noise, text, sector = (str(folder / f"{name}.bin") for name in ("random", "text", "sector"))
            fast, slow = ports["socket"], ports["rfc2217"]
            rows += [
                Row("chip-id", "socket", _seconds(rounds, "esptool", "-p", fast, "chip-id")),
                Row("chip-id", "pty", _seconds(rounds, "esptool", "-p", ports["pty"], "chip-id")),
                Row("espefuse summary", "socket", _seconds(rounds, "espefuse", "-p", fast, "summary")),
                Row("write-flash, 1 MB random, stub", "socket", _seconds(rounds, "esptool", "-p", fast, "write-flash", "0", noise), 4.0),
                Row("write-flash, 1 MB random, stub", "pty", _seconds(rounds, "esptool", "-p", ports["pty"], "write-flash", "0", noise)),
                Row("write-flash, 1 MB text, stub", "socket", _seconds(rounds, "esptool", "-p", fast, "write-flash", "0", text)),
                Row("write-flash, 1 MB random, ROM", "socket", _seconds(rounds, "esptool", "-p", fast, "--no-stub", "write-flash", "0", noise)),
                Row("chip-id, reset lines", "rfc2217", _seconds(1, "esptool", "-p", slow, "--no-stub", "chip-id")),
                Row("write-flash, 4 KB, stub", "rfc2217", _seconds(1, "esptool", "-p", slow, "write-flash", "0", sector)),
            ]  # fmt: skip
        return rows


def table(rows: Sequence[Row]) -> str:
    """Return the measurements as Markdown."""
    lines = ["| command | transport | seconds | promise |", "| --- | --- | ---: | --- |"]
    for row in rows:
        promise = f"under {row.promise:g} s" if row.promise else ""
        lines.append(f"| {row.what} | {row.transport} | {row.seconds:.2f} | {promise} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
