"""Where the device publishes and what it listens to; the broker's rules (`broker.acl.DEVICE_ACL`) allow just these."""

from __future__ import annotations

from labkit.errors import NameRefusedError
from labkit.node.codes import refused
from labkit.pki import names

ONLINE, OFFLINE = "online", "offline"
"""What stands retained on the status topic: the device writes the first, its will the second."""

LONGEST = len("devices//telemetry/environment") + names.MAX_LENGTH
"""Bytes of the longest topic that the device publishes to."""


def device_id(text: str) -> str:
    """Return a device id, or refuse it.

    Raises:
        MessageRefusedError: `id-` and a rule of `pki.names.device_id`.
    """
    try:
        return names.device_id(text)
    except NameRefusedError as error:
        raise refused(f"id-{error.rule}", "") from error


def telemetry(device: str) -> str:
    """Return where readings go."""
    return f"devices/{device}/telemetry/environment"


def status(device: str) -> str:
    """Return where `online` and `offline` stand."""
    return f"devices/{device}/status"


def commands(device: str) -> str:
    """Return the filter for commands."""
    return f"devices/{device}/commands/#"


def command_word(device: str, topic: str) -> str:
    """Return which command a topic is for.

    Args:
        device: Our own id.
        topic: Where a message came in.

    Raises:
        MessageRefusedError: `command-not-ours`: another device's, no command's, or one with more levels.

    Does not check: who sent it. The broker's rules decide who may write there.
    """
    word = topic.removeprefix(f"devices/{device}/commands/")
    if word == topic or not word or "/" in word:
        raise refused("command-not-ours", "")
    return word
