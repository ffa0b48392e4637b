"""Which broker serves: the program on this machine, or a container where `LABKIT_BROKER` asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.broker import container
from labkit.broker.mosquitto import find_program

if TYPE_CHECKING:
    from labkit.broker.mosquitto import Mosquitto


def find_mosquitto(*, fetch: bool = True) -> Mosquitto:
    """Find the broker that `LABKIT_BROKER` asks for: this machine's program where it asks for nothing.

    Args:
        fetch: Whether what is missing may be fetched: the program, or what the image is built from.

    Raises:
        ToolMissingError: It is nowhere, or no engine answers; the advice is what to type on this system.
        ToolVersionError: The one that was found is older than 2.0, whose defaults let everybody in.
        ToolFailedError: The image can't be built; the error has the engine's words.
    """
    names = container.wanted()
    return container.find(names, build=fetch) if names else find_program(fetch=fetch)
