"""What the device does when it is told to.

A command comes on `devices/<id>/commands/<word>`; its payload is a small JSON object, or nothing where the command needs
nothing. Who may send one is the broker's business; what is in it is looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.node import topics
from labkit.node.codes import refused
from labkit.node.documents import read_object

WORDS = ("interval", "report", "renew", "update", "restart")
"""Every command: set the interval; send a reading now; renew the certificate; look for an update; start again."""

LONGEST_PAYLOAD = 256

SHORTEST_INTERVAL, LONGEST_INTERVAL = 5, 86_400
"""Seconds between readings: what the provisioning service allows in a device's settings."""

USUAL_INTERVAL = 60


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was understood.

    Attributes:
        word: One of `WORDS`.
        seconds: The new interval, for `interval`.
    """

    word: str
    seconds: int | None = None


def read_interval(payload: bytes) -> int:
    """Return the interval that a payload like `{"seconds": 30}` asks for.

    Raises:
        MessageRefusedError: A code that begins with `json-`; the interval stays as it was.
    """
    document = read_object(payload, longest=LONGEST_PAYLOAD)
    document.only("seconds")
    return document.integer("seconds", SHORTEST_INTERVAL, LONGEST_INTERVAL)


def read_command(device: str, topic: str, payload: bytes) -> Command:
    """Return the command in a message.

    Args:
        device: Our own id.
        topic: Where it came in.
        payload: What it says.

    Raises:
        MessageRefusedError: `command-not-ours`, `command-unknown`, or a code that begins with `json-`.

    Does not check: who sent it; see `topics.command_word`.
    """
    word = topics.command_word(device, topic)
    if word not in WORDS:
        raise refused("command-unknown", repr(word[:20]))
    if word == "interval":
        return Command(word, read_interval(payload))
    if payload:
        read_object(payload, longest=LONGEST_PAYLOAD).only()
    return Command(word)
