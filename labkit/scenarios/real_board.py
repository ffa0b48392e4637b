"""A board on a cable: only where its port was named, and only looked at."""

from __future__ import annotations

from labkit.firmware.ports import real_port, run_on_port
from labkit.scenarios.device_boot import Transcript

NONE = "No port is named, so the virtual board it is. Nothing was looked at."


class NoPort:
    """What is said where no port was named."""

    def __repr__(self) -> str:
        return NONE


def look_at(port: str) -> Transcript | NoPort:
    """Ask the chip at a port who it is, with the real esptool. Nothing on it is changed but that it is reset.

    A port that the environment names (`ESPTOOL_PORT`) is never taken: what hangs on it may be somebody's product.

    Args:
        port: The port's name, as `/dev/ttyUSB0` or `COM3`; nothing happens where it is empty.

    Raises:
        ToolFailedError: esptool found no chip there; its words are in the error.
    """
    if not port.strip():
        return NoPort()
    completed = run_on_port("esptool", real_port(port), "chip-id")
    return Transcript(f"esptool --port {port} chip-id", completed)
