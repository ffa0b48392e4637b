"""A device on the bench: its files, its board, the tools that write the one onto the other, and what comes of it.

The board is the virtual one, the tools are Espressif's own, the broker is real. Nothing here knows that the board is
virtual but the lines that say so.
"""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit.board.virtual_board import VirtualBoard
from labkit.clock import Deadline
from labkit.firmware.ports import run_on_port
from labkit.firmware.tools import run_tool
from labkit.node import topics
from labkit.node.application import Options, application
from labkit.node.codes import parse_line
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios import device_files
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from labkit.board import Boot
    from labkit.firmware import NvsEntry
    from labkit.pki import IdentityFiles
    from labkit.processes import Completed
    from labkit.scenarios.mutual_tls import Site

SPEED = 60
"""So many times faster than ours runs the time of a node on the bench: a minute is a second."""

PATIENCE = 20.0
"""Seconds to wait for a board to say something."""

START = "[virtual "
"""How the first line on the console after a reset begins."""

_BAR = "━"

_CURSOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""How a program moves in a terminal, to write over what it has said. A transcript has no terminal."""

_GONE = "unexpected eof"
"""In the broker's log: what becomes of the session of a board that was reset."""

CONNECTION = {"mqtt-connected", "tls-refused", "mqtt-refused"}
"""The codes that tell how an attempt to connect ended."""


@dataclass(frozen=True)
class Transcript:
    """A command that was run, and what it said.

    Attributes:
        command: The command line, as one would type it.
        completed: What became of it.
        keep: Show only lines in which one of these words stands; all without any.
        leave: Show no lines in which one of these words stands.
    """

    command: str
    completed: Completed
    keep: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What the program said. Of lines that it wrote over, and of progress bars, only how they ended."""
        said = _CURSOR.sub("", self.completed.output)
        lines = [line.split("\r")[-1].rstrip() for line in said.splitlines()]
        lines = [line for line in lines if line.strip() and (_BAR not in line or "100.0%" in line)]
        kept = [line for line in lines if not self.keep or any(word in line for word in self.keep)]
        kept = [line for line in kept if not any(word in line for word in self.leave)]
        return "\n".join([*kept, *(["(other lines are not shown)"] if len(kept) < len(lines) else [])])

    def __repr__(self) -> str:
        return f"$ {self.command}\n{self.text}"

    def lines(self, *words: str) -> Transcript:
        """Return the same with only the lines in which one of some words stands."""
        return replace(self, keep=words)

    def without(self, *words: str) -> Transcript:
        """Return the same without the lines in which one of some words stands."""
        return replace(self, leave=words)


class Bench:
    """A board, the files for it, and the broker that it talks to. Get one from `device_bench`.

    Attributes:
        site: The broker.
        board: The board.
        device: The id of the device that it becomes.
        folder: The files that are written onto it.
        read_interval: How the node understands the command `interval`.
    """

    def __init__(
        self,
        site: Site,
        board: VirtualBoard,
        device: str,
        folder: Path,
        *,
        read_interval: Callable[[bytes], int],
    ) -> None:
        self.site, self.board, self.device = site, board, device
        self.folder = make_folder(folder, private=True)
        self.read_interval = read_interval
        self._mark = self._log_mark = 0

    def __repr__(self) -> str:
        return f"<Bench with {self.board!r}>"

    # --- tools ---------------------------------------------------------------------------------------------------

    def esptool(self, *words: str, check: bool = True) -> Transcript:
        """Run the real esptool on the board; paths are those of the bench's folder.

        Args:
            *words: What comes after the port.
            check: Raise when it says no.

        Raises:
            ToolFailedError: It said no.
        """
        return self._on_board("esptool", *words, check=check)

    def espefuse(self, *words: str, check: bool = True) -> Transcript:
        """Run the real espefuse on the board. What it burns is burned; `board.renew()` takes a new one.

        Args:
            *words: What comes after the port.
            check: Raise when it says no.

        Raises:
            ToolFailedError: It said no.
        """
        return self._on_board(
            "espefuse", "--chip", self.board.chip.name, "--do-not-confirm", *words, check=check
        )

    def _on_board(self, program: str, *words: str, check: bool) -> Transcript:
        self._begin()
        port = self.board.port
        completed = run_on_port(program, port, *words, cwd=self.folder, check=check)
        return Transcript(" ".join([program, "--port", port.name, *words]), completed)

    def espsecure(self, *words: str) -> Transcript:
        """Run the real espsecure; it needs no board.

        Raises:
            ToolFailedError: It said no.
        """
        completed = run_tool("espsecure", *words, cwd=self.folder)
        return Transcript(" ".join(["espsecure", *words]), completed)

    # --- files ---------------------------------------------------------------------------------------------------

    def write(self, name: str, data: bytes) -> Path:
        """Write a file into the bench's folder, for its owner alone."""
        path = self.folder / name
        write_atomic(path, data, secret=True)
        return path

    def read(self, name: str) -> bytes:
        """Return what a file of the bench's folder holds."""
        return (self.folder / name).read_bytes()

    def make_firmware(self, version: str = "1.0.0", *, embedded: bytes = b"", nvs: str = "") -> Path:
        """Write bootloader, partition table, otadata and the node's application.

        Args:
            version: The application's version.
            embedded: Files that are linked into it.
            nvs: How its values are protected, where the image insists on it: `keys` or `hmac`.

        Returns:
            The application's file.
        """
        chip = self.board.chip.name
        return device_files.write_firmware(self.folder, chip, version, embedded=embedded, nvs=nvs)

    def values(self, files: IdentityFiles | None = None) -> list[NvsEntry]:
        """Return what belongs into the device's own partition."""
        return device_files.identity_values(self.site, self.device, files)

    def make_identity(
        self, files: IdentityFiles | None = None, *, name: str = device_files.IDENTITY
    ) -> Transcript:
        """Write the device's own partition with Espressif's generator.

        Args:
            files: Certificate and key; the device's own, issued where there are none, without it.
            name: The partition's file.
        """
        return self.make_partition(self.values(files), name)

    def make_partition(self, values: Sequence[NvsEntry], name: str = device_files.IDENTITY) -> Transcript:
        """Write any values as the device's own partition."""
        completed = device_files.write_identity(self.folder, values, name)
        return Transcript(_typed(completed), completed)

    def plan(self, application_file: str, *, identity: bool = True) -> list[str]:
        """Return what `write-flash` is told for the whole device.

        Args:
            application_file: The application.
            identity: Whether the device's own partition is among it.
        """
        return device_files.flash_words(
            self.board.chip.bootloader_offset, application_file, identity=identity
        )

    # --- what the board does -------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Press the button."""
        self._begin()
        self.board.reset()

    def program(self, offset: int, data: bytes) -> None:
        """Write into the flash as a programmer clipped to the chip would, and let the board start."""
        self._begin()
        self.board.write_flash(offset, data)

    def _begin(self) -> None:
        """From here on counts what board and broker say."""
        self._mark, self._log_mark = self.board.console.count, self.site.broker.log.mark()

    def console(self, *, until: str = "telemetry-sent", timeout: float = PATIENCE) -> Console:
        """Return what the board has said since it last started, up to a word.

        Args:
            until: The word; it is waited for, unless the start has failed, after which nothing more is said.
            timeout: Seconds to wait for it.
        """
        deadline = Deadline(timeout)
        lines = self.said()
        while not any(until in line for line in lines) and not deadline.passed and not self._lies_still():
            deadline.pause(0.05)
            lines = self.said()
        ends = [number for number, line in enumerate(lines, start=1) if until in line]
        return Console(lines[: ends[0]] if ends else lines)

    def said(self) -> tuple[str, ...]:
        """Return what the board has said since it last started, and nothing of what it said while a tool began."""
        lines = self.board.console.since(self._mark)
        starts = [number for number, line in enumerate(lines) if line.startswith(START)]
        return lines[starts[-1] :] if starts else ()

    def _lies_still(self) -> bool:
        """Return whether the board has started and come to no application, so that none will speak."""
        last = self.board.last_boot if self.said() else None
        return last is not None and not last.booted

    def _patience(self) -> float:
        """Return how many seconds to wait for what the application says."""
        return 1.0 if self._lies_still() else PATIENCE

    def boot(self) -> Outcome:
        """Return how far the board came when it started last: the last stage that its console speaks of."""
        self.board.console.wait_for(START, since=self._mark, timeout=PATIENCE)
        self.board.check()
        found = self.board.last_boot
        if found is None:
            text = "the board has not been started"
            raise RuntimeError(text)
        return found.outcome.with_detail(board="\n".join(_verdict(found)))

    def connection(self, files: IdentityFiles | None = None) -> Outcome:
        """Return how the board's first attempt to connect ended: its own words, and the broker's beside them.

        Args:
            files: What it connected with, to ask `openssl verify` as well.
        """
        outcome = self._connection()
        return outcome.with_detail(openssl=str(self.site.verify(files))) if files else outcome

    def _connection(self) -> Outcome:
        line, code, values = self._first(CONNECTION)
        if code == "mqtt-connected":
            told = self._broker_says(f"as {self.device} ")
            return Outcome("mqtt", accepted=True, reason=ACCEPTED, detail={"board": line, "broker_log": told})
        told = self._broker_says("OpenSSL Error" if values["stage"] == "tls" else self.device)
        detail = {"board": line, "broker_log": told}
        return Outcome(values["stage"], accepted=False, reason=values["reason"], detail=detail)

    def _broker_says(self, word: str) -> list[str]:
        deadline = Deadline(2.0)
        while True:
            lines = [line for line in self.site.broker.log.lines(self._log_mark) if word in line]
            lines = [line for line in lines if _GONE not in line]
            if lines or deadline.passed:
                return lines[:1]
            deadline.pause(0.02)

    def _first(self, wanted: set[str]) -> tuple[str, str, dict[str, str]]:
        deadline = Deadline(PATIENCE)
        while True:
            for line in self.said():
                found = parse_line(line)
                if found is not None and found[0] in wanted:
                    return line, *found
            if deadline.passed or self._lies_still():
                text = f"the board said none of {', '.join(sorted(wanted))}"
                raise RuntimeError(text)
            deadline.pause(0.05)

    def hear(self) -> Outcome:
        """Ask the board for a reading, and return what an operator at the broker receives.

        Returns:
            An outcome at stage `authorised`.
        """
        topic = topics.telemetry(self.device)
        with self.site.session("admin") as operator:
            operator.subscribe(topic)
            operator.publish(f"devices/{self.device}/commands/report", "")
            message = operator.wait_for(topic, timeout=self._patience())
        if message is None:
            return Outcome("authorised", accepted=False, reason="not-delivered", detail={"topic": topic})
        detail = {"topic": topic, "received": message.payload.decode(), "broker_log": self.admitted()[-1:]}
        return Outcome("authorised", accepted=True, reason=ACCEPTED, detail=detail)

    def admitted(self) -> list[str]:
        """Return the lines of the broker's log that name the device as somebody who was let in."""
        return [line for line in self.site.broker.log.lines(0) if f"as {self.device} " in line]

    def command(self, word: str, payload: str | bytes = "") -> Outcome:
        """Send the device a command as an operator, and return what the device made of it.

        Returns:
            An outcome at stage `authorised`, with the device's line in its detail; a refusal has the device's code.
        """
        before = self.board.console.count
        with self.site.session("admin") as operator:
            operator.publish(f"devices/{self.device}/commands/{word}", payload)
            line = self.board.console.wait_for(" command=", since=before, timeout=self._patience())
        found = parse_line(line) if line else None
        if found is None:
            return Outcome("authorised", accepted=False, reason="no-answer", detail={})
        code, detail = found[0], {"board": line}
        if code == "command-done":
            return Outcome("authorised", accepted=True, reason=ACCEPTED, detail=detail)
        return Outcome("authorised", accepted=False, reason=code, detail=detail)

    # --- other ways ----------------------------------------------------------------------------------------------

    @contextmanager
    def understanding(self, read_interval: Callable[[bytes], int]) -> Iterator[None]:
        """Let the node understand the command `interval` in another way, for the length of the block."""
        before, self.read_interval = self.read_interval, read_interval
        try:
            yield
        finally:
            self.read_interval = before

    def make_sealed_by_hmac(self, key: str) -> Transcript:
        """Write the device's own partition encrypted with keys that the chip's HMAC unit derives (not on the ESP32).

        Args:
            key: The file with the HMAC key that was burned.
        """
        completed = device_files.write_sealed_by_hmac(self.folder, self.values(), key)
        return Transcript(_typed(completed), completed)


def _verdict(found: Boot) -> list[str]:
    """Return what a board says of its start: the last line, or the first complaints; the ROM has its own way of them."""
    words = [line for line in found.console if line]
    if found.booted:
        return words[-1:]
    return [line for line in words if line.startswith("E (")][:3] or words[-3:]


@dataclass(frozen=True)
class Console:
    """What a board said."""

    lines: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def device_bench(
    site: Site, device: str, *, chip: str = "esp32", options: Options | None = None, fresh: bool = True
) -> Iterator[Bench]:
    """Put a virtual board onto the bench, beside a broker, for the length of the block.

    Args:
        site: The broker.
        device: The id of the device that it becomes.
        chip: `esp32` or `esp32c3`.
        options: How the node runs; sixty times faster than we live without it.
        fresh: Take a new board: blank flash, factory fuses.

    Raises:
        BoardBusyError: Another process runs that board.
    """
    folder = site.store.workspace.path("boards", device)
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    chosen = options or Options(speed=SPEED)
    holder: list[Bench] = []

    def understood(payload: bytes) -> int:
        return holder[0].read_interval(payload) if holder else chosen.read_interval(payload)

    node = application(replace(chosen, read_interval=understood))
    with VirtualBoard.open(folder, chip=chip, application=node) as board:
        holder.append(Bench(site, board, device, folder / "files", read_interval=chosen.read_interval))
        yield holder[0]


def _typed(completed: Completed) -> str:
    return " ".join(["python", *completed.argv[1:]])
