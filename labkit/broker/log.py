"""Mosquitto's log, line by line.

Written for the wording of 2.0, which the tests see live; the wording of 2.1 is tested on recorded lines only. A line
that is not understood is an event of kind `other`, never an error: the log is evidence, not a protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log.

    Attributes:
        kind: What it tells; see the patterns in this file. `other` where it tells us nothing.
        text: The line without its time.
        time: The time as written, or empty.
        values: What the line names: `port`, `peer_port`, `client`, `user`, `version`, `topic`, …
    """

    kind: str
    text: str
    time: str
    values: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        """Return a value that the line names, or an empty text."""
        return dict(self.values).get(name, "")


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\d{9,11}): (.*)")

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("running", r"mosquitto version (?P<version>[\d.]+) running"),
        ("starting", r"mosquitto version (?P<version>[\d.]+) starting"),
        ("terminating", r"mosquitto version (?P<version>[\d.]+) terminating"),
        ("reload", r"Reloading config\."),
        (
            "connection",
            r"New connection from (?P<peer>[\d.:a-fA-F]+?):(?P<peer_port>\d+) on port (?P<port>\d+)\.",
        ),
        (
            "connected",
            (
                r"New client connected from (?P<peer>\S+?):(?P<peer_port>\d+) as (?P<client>.+?) "
                r"\(p(?P<protocol>\d+), c\d+, k\d+(?:, u'(?P<user>.*)')?\)"
            ),
        ),
        ("accept-failed", r"Client connection from (?P<peer>\S+) failed: (?P<error>.+)"),
        ("tls-error", r"OpenSSL Error(?:\[\d+\]| while .+?)?: ?(?P<error>.+)"),
        ("denied", r"Denied (?P<what>PUBLISH|SUBSCRIBE) from (?P<client>\S+) .*?'(?P<topic>[^']*)'"),
        (
            "disconnected",
            r"Client (?P<client>.+?) (?:\[\S+\] )?(?:disconnected|closed its connection)(?P<why>.*)",
        ),
        ("in-use", r"Error: Address (?:already )?in use|Error: Address not available"),
        ("takeover", r"Client (?P<client>.+?) already connected, closing old connection\."),
        ("error", r"Error: (?P<error>.+)"),
        ("warning", r"Warning: (?P<warning>.+)"),
    )
)


def parse_line(line: str) -> Event:
    """Return what a line tells."""
    found = _TIME.match(line)
    time, text = (found[1], found[2]) if found else ("", line)
    for kind, pattern in _KINDS:
        if match := pattern.search(text):
            values = tuple((name, value) for name, value in match.groupdict().items() if value is not None)
            return Event(kind, text, time, values)
    return Event("other", text, time)


def story_of(peer_port: int, lines: Iterable[str]) -> list[str]:
    """Return the lines about one connection: from its first line to its end.

    Mosquitto names the client's port only when a connection opens. What follows belongs to it until it closes or
    another one opens, so with several clients at once a TLS error may be told of the wrong one; ask about one at a
    time where it matters. A client that is so quick that its handshake fails within `accept` gets a single line
    without a port; it is taken as ours if no line names our port.

    Args:
        peer_port: The client's own port.
        lines: The log.
    """
    story: list[str] = []
    nameless: list[str] = []
    client, ours = "", False
    for event in map(parse_line, lines):
        if event.kind in {"connection", "connected"}:
            ours = event["peer_port"] == str(peer_port)
            client = event["client"] if ours else client
        if event.kind == "accept-failed":
            nameless.append(event.text)
        elif (client and client in event.text) or (ours and not client):
            story.append(event.text)
        if event.kind == "disconnected":
            ours = False
    return story or nameless[:1]
