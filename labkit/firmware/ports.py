"""Serial ports, and the guard before them: nobody's board is bricked by a lesson.

A port is one that the reader named, or that of a virtual board; never what an environment variable says. On a real
board, whatever can't be undone (burning eFuses, and with them Secure Boot and flash encryption) is refused until the
reader has typed that board's MAC, and the board's own answer agrees, each time.

Does not check: what firmware does once it runs. An image that was built to burn eFuses at its first boot is a plain
image to esptool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit.errors import PortRefusedError, ToolFailedError
from labkit.firmware.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from labkit.processes import Completed

HARMLESS = {
    "esptool": frozenset({
        "chip-id", "dump-mem", "erase-flash", "erase-region", "flash-id", "get-security-info", "read-flash",
        "read-flash-sfdp", "read-flash-status", "read-mac", "read-mem", "run", "verify-flash", "write-flash",
    }),
    "espefuse": frozenset({"adc-info", "check-error", "dump", "get-custom-mac", "summary"}),
}  # fmt: skip
"""What can be undone, by program. Every other command is taken for one that can't."""

_NOT_HARMLESS = frozenset(
    {"--encrypt", "--encrypt-files", "--force", "--ignore-flash-enc-efuse", "--override-vddsdio"}
)
"""Options that make a write one that encrypts, overrule the tool's own doubts, or change the flash chip's voltage."""

_PORT_OPTION = re.compile(r"--port|-[a-z]*p")
"""Short options can be written as one word: -sp PORT is -s -p PORT."""

_WITH_VALUE = frozenset({
    "-a", "-b", "-c", "--after", "--baud", "--before", "--chip", "--connect-attempts", "--file", "--format",
})  # fmt: skip
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TOLD = re.compile(r"^MAC:\s+([0-9a-f:]{17})\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SerialPort:
    """Where a board is.

    Attributes:
        name: As tools take it: `/dev/ttyUSB0`, `COM3`, `socket://…`.
        virtual: Whether a virtual board is there. Only `VirtualBoard.port` says so; an address proves nothing, as a
            socket may lead to a real board.
        mac: The MAC that the reader typed for it.
    """

    name: str
    virtual: bool = False
    mac: str | None = None

    def unlock(self, typed: str) -> SerialPort:
        """Return the port with the MAC that the reader typed, once the board there says the same.

        Raises:
            PortRefusedError: `rule` is `mac-format`, or see `verify_mac`.
        """
        mac = typed.strip().lower().replace("-", ":")
        if not _MAC.fullmatch(mac):
            raise _refused(
                self, "mac-format", f"{typed!r} is no MAC: six pairs of digits, like 24:dc:c3:00:11:22"
            )
        found = replace(self, mac=mac)
        verify_mac(found)
        return found


def real_port(name: str) -> SerialPort:
    """Return the port that the reader named.

    Raises:
        PortRefusedError: `rule` is `not-named`: there is no name, or an option in its place.
    """
    if not name.strip() or name.startswith("-"):
        raise _refused(
            SerialPort(name), "not-named", "a real board's port must be named, by you, in this call"
        )
    return SerialPort(name.strip())


def is_harmless(program: str, words: Sequence[str]) -> bool:
    """Return whether a command can be undone. What is not known is not harmless.

    Args:
        program: `esptool` or `espefuse`.
        words: Its arguments without the port.
    """
    known = HARMLESS.get(program, frozenset())
    if any(word.split("=")[0] in _NOT_HARMLESS for word in words):
        return False
    plain = _positional(words)
    if program == "espefuse":  # commands can be chained, so each word is one, or names a fuse in capitals
        return bool(plain) and all(word in known or word == word.upper() for word in plain)
    return bool(plain) and plain[0] in known


def _positional(words: Sequence[str]) -> list[str]:
    found, skip = [], False
    for word in words:
        if skip or word.startswith("-"):
            skip = word in _WITH_VALUE and not skip
        else:
            found.append(word)
    return found


def run_on_port(
    program: str,
    port: SerialPort,
    *words: str | Path,
    cwd: Path | None = None,
    timeout: float = 120.0,
    check: bool = True,
) -> Completed:
    """Run esptool or espefuse on a board.

    Args:
        program: Which of them.
        port: The board's port.
        words: Its arguments; the port is not among them.
        cwd: Where it runs.
        timeout: Seconds until it is killed.
        check: Raise when it says no.

    Raises:
        PortRefusedError: `rule` is `second-port`, or on a real board `mac-not-typed`, or see `verify_mac`. Nothing was
            run.
        ToolFailedError: The tool said no.
        ToolMissingError: It is not here.
    """
    texts = [str(word) for word in words]
    if any(_PORT_OPTION.match(text) for text in texts):
        raise _refused(port, "second-port", "the arguments name a port of their own")
    if not port.virtual and not is_harmless(program, texts):
        if port.mac is None:
            raise _refused(port, "mac-not-typed", f"{program} {' '.join(texts[:2])} can't be undone")
        verify_mac(port)
    return run_tool(program, "--port", port.name, *texts, cwd=cwd, timeout=timeout, check=check)


def verify_mac(port: SerialPort) -> None:
    """Verify that the board on a port is the one whose MAC was typed. Asked before each burn: boards are swapped.

    Raises:
        PortRefusedError: `rule` is `mac-unreadable` or `mac-differs`.
    """
    try:
        told = _TOLD.search(run_tool("esptool", "--port", port.name, "--no-stub", "read-mac").output)
    except ToolFailedError as error:
        raise _refused(port, "mac-unreadable", "the board there does not say its MAC") from error
    if told is None:
        raise _refused(port, "mac-unreadable", "the board there does not say its MAC")
    if told[1] != port.mac:
        raise _refused(port, "mac-differs", f"the board there is {told[1]}, and {port.mac} was typed")


def _refused(port: SerialPort, rule: str, why: str) -> PortRefusedError:
    return PortRefusedError(
        f"Nothing was run on {port.name or 'any port'}: {why}.",
        advice="Name the port yourself, and for what can't be undone type the MAC that stands on the board: "
        "port = real_port('/dev/ttyUSB0').unlock('24:dc:c3:…'). The virtual board needs neither.",
        port=port.name,
        rule=rule,
    )
