"""labkit.ports: reserved loopback ports."""

from __future__ import annotations

import socket
import sys

import pytest

from labkit.ports import LOOPBACK, is_listening, reserve_port


def test_reserved_port_can_be_served_on() -> None:
    """A child that sets SO_REUSEADDR can bind and listen on the reserved port."""
    with reserve_port() as port, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, port))
        server.listen()
        assert is_listening(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a bind this way")
def test_reserved_port_is_given_to_nobody_else() -> None:
    """While a port is reserved, the kernel hands it to no one, and afterwards it is free."""
    with reserve_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((LOOPBACK, port))
        assert not is_listening(port)
    with socket.socket() as other:
        other.bind((LOOPBACK, port))
