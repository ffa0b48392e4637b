"""A board on a cable: used only where its port was named, and burned only where its MAC was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.firmware.ports import SerialPort, real_port, run_on_port
from labkit.scenarios.device_boot import Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.processes import Completed

NONE = "No port is named, so the virtual board it is. Nothing was looked at."


class NoBoard:
    """What is there where no port was named."""

    def __repr__(self) -> str:
        return NONE


class RealBoard:
    """A board at a port that somebody has named. Get one from `real_board`.

    Attributes:
        port: Where it is.
        folder: The files that tools find by their names.
        introduced: What the chip said of itself.
    """

    def __init__(self, port: SerialPort, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.introduced = self.esptool("chip-id")

    def __repr__(self) -> str:
        lock = (
            f"unlocked for {self.port.mac}" if self.port.mac else "eFuses are locked; unlock(MAC) opens them"
        )
        return f"{self.introduced}\n({lock})"

    def esptool(self, *words: str, check: bool = True) -> Transcript:
        """Run the real esptool on the board, with the files of its folder.

        Args:
            *words: What comes after the port.
            check: Raise when it says no.

        Raises:
            PortRefusedError: It can't be undone, and the MAC was not typed; see `firmware.ports`.
            ToolFailedError: It said no.
        """
        return self._told("esptool", run_on_port("esptool", self.port, *words, cwd=self.folder, check=check))

    def espefuse(self, *words: str, check: bool = True) -> Transcript:
        """Run the real espefuse on the board. Looking is always allowed.

        Args:
            *words: What comes after the port.
            check: Raise when it says no.

        Raises:
            PortRefusedError: It burns, and the MAC was not typed, or the board at the port is another one.
            ToolFailedError: It said no.
        """
        return self._told(
            "espefuse", run_on_port("espefuse", self.port, *words, cwd=self.folder, check=check)
        )

    def unlock(self, mac: str) -> RealBoard:
        """Return the same board with what can't be undone allowed.

        Args:
            mac: The MAC that stands on it, typed by a person.

        Raises:
            PortRefusedError: It is no MAC, or the board at the port has another one.
        """
        return RealBoard(self.port.unlock(mac), self.folder)

    @staticmethod
    def _told(program: str, completed: Completed) -> Transcript:
        return Transcript(" ".join([program, *completed.argv[1:]]), completed)


def real_board(name: str, folder: Path) -> RealBoard | NoBoard:
    """Ask the chip at a port who it is, with the real esptool, and return it. Nothing on it is changed but that it is reset.

    A port that the environment names (`ESPTOOL_PORT`) is never taken: what hangs on it may be somebody's product.

    Args:
        name: The port's name, as `/dev/ttyUSB0` or `COM3`; nothing happens where it is empty.
        folder: The files that tools find by their names.

    Raises:
        ToolFailedError: esptool found no chip there; its words are in the error.
    """
    return RealBoard(real_port(name), folder) if name.strip() else NoBoard()
