"""What tests of brokers share: a configuration without TLS, and whether a process has really ended."""

from __future__ import annotations

from pathlib import Path

from labkit.broker import BrokerConfig, Listener
from labkit.clock import Deadline


def plain(port: int) -> BrokerConfig:
    """Return a configuration without TLS, for tests that are not about it."""
    return BrokerConfig(listeners=(Listener(port=port),))


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int, seconds: float = 8.0) -> bool:
    """Wait until a process has ended."""
    deadline = Deadline(seconds)
    while not gone(pid) and not deadline.passed:
        deadline.pause(0.02)
    return gone(pid)
