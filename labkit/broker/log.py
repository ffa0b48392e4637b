"""Mosquitto's log, line by line.

Written for the wordings of 2.0 and 2.1. The tests see the one that is installed live, and know the other from recorded
lines; they pass with 2.0.11 and 2.1.2. A line that is not understood is an event of kind `other`, never an error: the
log is evidence, not a protocol.

Clients choose some of the words in it (topics, client ids), so every pattern is held against the whole line from its
first character on: a message to a topic named `Error: …` must not read like an error of the broker.
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


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\d{9,11}): (.*)", re.DOTALL)

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.DOTALL))
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
            # The client id is chosen by the client where it is not bound to the certificate, the user name is not:
            # of two endings that look right, the last one is Mosquitto's.
            "connected",
            (
                r"New client connected from (?P<peer>\S+?):(?P<peer_port>\d+) as (?P<client>.+) "
                r"\(p(?P<protocol>\d+), c\d+, k\d+(?:, u'(?P<user>.*)')?\)\."
            ),
        ),
        ("accept-failed", r"Client connection from (?P<peer>\S+) failed: (?P<error>.+)"),
        ("tls-error", r"OpenSSL Error.*?\[\d+\]: (?P<error>.+)"),
        (
            "denied",
            r"Denied (?P<what>\w+) (?:from|to) (?P<client>.+?) \((?:[a-z]\d+, )+'(?P<topic>.*)', \.\.\. \(\d+ bytes\)\)",
        ),
        ("takeover", r"Client (?P<client>.+) already connected, closing old connection\."),
        (
            "disconnected",
            (
                r"Client (?P<client>.+?) (?:\[(?P<peer>\S+):(?P<peer_port>\d+)\] )?"
                r"(?:been )?(?:disconnected|closed its connection)(?P<why>.*)"
            ),
        ),
        ("in-use", r"Error: Address (?:already )?in use|Error: Address not available"),
        ("error", r"Error(?::| opening) (?P<error>.+)"),
        ("warning", r"Warning: (?P<warning>.+)"),
    )
)


def parse_line(line: str) -> Event:
    """Return what a line tells."""
    found = _TIME.fullmatch(line)
    time, text = (found[1], found[2]) if found else ("", line)
    for kind, pattern in _KINDS:
        if match := pattern.fullmatch(text):
            values = tuple((name, value) for name, value in match.groupdict().items() if value is not None)
            return Event(kind, text, time, values)
    return Event("other", text, time)


_UNKNOWN = "<unknown>"
_CONNACK = re.compile(r"Sending CONNACK to (?P<client>.+) \(\d+, \d+\)")
_TRAFFIC = re.compile(r"(?:Received|Sending) (?!CONNACK|CONNECT)")


def story_of(peer_port: int, lines: Iterable[str]) -> list[str]:
    """Return the lines about one connection: from its first line to its end.

    Mosquitto names the client's port only when a connection opens (2.1: also when it ends). What follows belongs to
    it until it closes, so with several clients at once a TLS error may be told of the wrong one; ask about one at a
    time where it matters. A client that is so quick that its handshake fails within `accept` gets a single line
    without a port; it is taken as ours if no line names our port.

    Args:
        peer_port: The client's own port.
        lines: The log.
    """
    story = _Story(str(peer_port))
    nameless: list[str] = []
    for event in map(parse_line, lines):
        if event.kind == "accept-failed":
            nameless.append(event.text)
            continue
        known = story.client
        if story.takes(event):
            story.lines.append(event.text)
            # Who is taken over is known by now; whoever takes over is not yet.
            if event.kind == "disconnected" or (event.kind == "takeover" and known):
                break
    return story.lines or nameless[:1]


class _Story:
    """One connection on its way through the log."""

    def __init__(self, peer_port: str) -> None:
        self.peer_port = peer_port
        self.lines: list[str] = []
        self.ours = False  # whether the last connection that opened is ours
        self.client = ""  # its client id, as soon as a line names it

    def takes(self, event: Event) -> bool:
        """Return whether a line belongs to it, and learn from the line."""
        if event.kind in {"connection", "connected"}:
            self.ours = event["peer_port"] == self.peer_port
            if self.ours:
                self.client = event["client"]
            return self.ours
        if event["peer_port"]:
            return event["peer_port"] == self.peer_port
        if self.client:
            return _names(self.client, event)
        if not self.ours:
            return False
        if answered := _CONNACK.fullmatch(event.text):
            self.client = answered["client"]
            return True
        if event.kind == "disconnected":
            return event["client"] == _UNKNOWN
        return not _TRAFFIC.match(event.text)


def _names(client: str, event: Event) -> bool:
    if event["client"]:
        return event["client"] == client
    # As a word of its own: sensor-1 is not in a line about sensor-10.
    return re.search(rf"(?<![\w./-]){re.escape(client)}(?![\w./-])", event.text) is not None
