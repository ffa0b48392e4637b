"""What a student does at the bench in exercise sensor-node, beside what lesson esp32-flashing has shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.display import Table
from labkit.display.outcomes import witnesses
from labkit.firmware.tools import run_tool
from labkit.node.codes import refused
from labkit.scenarios.device_boot import Bench, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from labkit.outcome import Outcome


def words(plan: Mapping[int, str]) -> list[str]:
    """Return a plan of offsets and files as esptool wants it: pairs of words, in order."""
    return [word for offset, name in sorted(plan.items()) for word in (hex(offset), name)]


def merge(bench: Bench, plan: Mapping[int, str], target: str = "flash.bin") -> Transcript:
    """Have the real esptool make one file of all that goes into a board's flash.

    Args:
        bench: The board; its folder has the files.
        plan: Offsets and files.
        target: The file to make, for its owner alone: a key is in it.

    Raises:
        ToolFailedError: esptool says no.
    """
    bench.write(target, b"")  # esptool keeps the file's mode
    typed = ["--chip", bench.board.chip.name, "merge-bin", "--output", target, *words(plan)]
    return Transcript(" ".join(["esptool", *typed]), run_tool("esptool", *typed, cwd=bench.folder))


def told(outcome: Outcome) -> Table:
    """Return who says what of an outcome."""
    return Table("What became of it", ("", ""), witnesses(outcome))


def try_commands(
    bench: Bench,
    read_interval: Callable[[bytes, int, int], Any],
    bounds: tuple[int, int],
    payloads: Sequence[bytes],
) -> Table:
    """Let the board understand the command `interval` as a function does, and send it some.

    Args:
        bench: The board, with a node that is connected.
        read_interval: The function.
        bounds: The shortest and the longest interval.
        payloads: What the operator sends.

    Returns:
        What the board did with each.
    """
    crashed: list[str] = []

    def understood(payload: bytes) -> int:
        try:
            found = read_interval(payload, *bounds)
        except ValueError as error:
            raise refused("json-range", "") from error
        except NotImplementedError:
            raise
        except Exception as error:
            crashed.append(type(error).__name__)  # in C this would be the end of the program
            raise refused("memory-short", "") from error
        if type(found) is not int or not 0 <= found <= 0xFFFFFFFF:
            crashed.append(f"returned {found!r}"[:40])
            raise refused("memory-short", "")
        return found

    understood(payloads[0])  # a stub says here that it is one, and not on the board
    rows = []
    with bench.understanding(understood):
        for payload in payloads:
            crashed.clear()
            outcome = bench.command("interval", payload)
            did = f"crashed: {crashed[0]}" if crashed else "done" if outcome.accepted else "refused"
            rows.append((payload.decode("ascii", "replace")[:40], did))
    return Table("What your device did", ("payload", "what it did"), rows)
