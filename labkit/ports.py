"""Loopback ports: reserve one that stays ours until the program it is for has bound it."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
"""Everything in the course listens here."""


@contextmanager
def reserve_port(host: str = LOOPBACK) -> Iterator[int]:
    """Reserve a free TCP port for a child process.

    The socket is bound and never listens. On Linux, SO_REUSEADDR on both sides lets the child bind and listen
    on the same port while nobody else is handed it by the kernel (socket(7)). Elsewhere the rules differ, so
    the socket is closed before the port is given out, and the caller retries on "address in use".

    Args:
        host: The address to reserve on.

    Yields:
        The port number.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        port = int(sock.getsockname()[1])
        if not _shared_bind_works():
            sock.close()
        yield port
    finally:
        sock.close()


def _shared_bind_works() -> bool:
    return os.uname().sysname == "Linux" if hasattr(os, "uname") else False


def is_listening(port: int, host: str = LOOPBACK, *, timeout: float = 0.5) -> bool:
    """Return whether something accepts TCP connections on the port."""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False
