"""A recorded handshake as a picture: two lifelines, one arrow a message, a band for each flight; and the same as text."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, INK, tint

if TYPE_CHECKING:
    from labkit.mqtt.handshake import Handshake, Message

_WIDTH, _LEFT, _RIGHT = 760, 130, 630
_TOP, _STEP = 66, 26


@dataclass(frozen=True)
class Timeline:
    """A recorded connection to look at. Get one from `timeline`.

    Attributes:
        handshake: What the recording says.
        title: What it is a recording of.
        limit: At most so many messages are shown.
    """

    handshake: Handshake
    title: str
    limit: int

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the recording as a table."""
        rows = self.handshake.rows()[: self.limit]
        return str(Table(self.title, ("flight", "direction", "message", "size"), rows, self._note))

    @property
    def _note(self) -> str:
        seen, cut = self.handshake, len(self.handshake.messages) - self.limit
        waits = "1 round trip" if seen.round_trips == 1 else f"{seen.round_trips} round trips"
        trips = f"{waits} before the client's first data. " if seen.round_trips else ""
        rest = f" {cut} more messages are not shown." if cut > 0 else ""
        sent = seen.bytes_sent
        return f"{trips}The client sent {sent['client']} bytes, the server {sent['server']}.{rest}"

    def _repr_html_(self) -> str:
        messages = self.handshake.messages[: self.limit]
        height = _TOP + _STEP * len(messages) + 12
        drawn = "".join(_band(messages, number) for number in sorted({m.flight for m in messages}))
        drawn += _lifelines(height) + "".join(_arrow(m, row) for row, m in enumerate(messages))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height}" '
            f'style="width:100%;max-width:{_WIDTH}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>{drawn}</svg>'
            f'<p style="margin:.2em 0">{html.escape(self._note)}</p>'
        )


def timeline(handshake: Handshake, title: str = "A recorded connection", *, limit: int = 30) -> Timeline:
    """Return a recorded connection to show.

    Args:
        handshake: What `read_handshake` returned.
        title: What it is a recording of.
        limit: Show at most so many messages.
    """
    return Timeline(handshake, title, limit)


def _band(messages: tuple[Message, ...], flight: int) -> str:
    rows = [row for row, message in enumerate(messages) if message.flight == flight]
    top, height = _TOP + rows[0] * _STEP - 16, len(rows) * _STEP
    shade = "0.10" if flight % 2 else "0.03"
    return (
        f'<rect x="0" y="{top}" width="{_WIDTH}" height="{height}" fill="currentColor" fill-opacity="{shade}"/>'
        f'<text x="8" y="{top + 18}" fill="currentColor" fill-opacity="0.75">flight {flight}</text>'
    )


def _lifelines(height: int) -> str:
    drawn = ""
    for x, name, role in ((_LEFT, "client", "device"), (_RIGHT, "server", "server")):
        colour = COLOURS[role]
        drawn += (
            f'<line x1="{x}" y1="44" x2="{x}" y2="{height}" stroke="{colour}" stroke-width="2"/>'
            f'<rect x="{x - 40}" y="24" width="80" height="22" rx="5" fill="{tint(colour)}" stroke="{colour}"/>'
            f'<text x="{x}" y="40" text-anchor="middle" font-weight="600" fill="{INK}">{name}</text>'
        )
    return drawn


def _arrow(message: Message, row: int) -> str:
    y = _TOP + row * _STEP
    ours = message.direction == "client"
    colour = COLOURS["device" if ours else "server"]
    start, end, back = (_LEFT, _RIGHT, -8) if ours else (_RIGHT, _LEFT, 8)
    # Dashes for what was encrypted on the wire; the words say it too.
    dashes = ' stroke-dasharray="6 4"' if message.encrypted else ""
    head = f"M{end + back} {y - 4} L{end} {y} L{end + back} {y + 4} Z"
    alert = message.detail.get("alert")
    name = f"{message.name}: {alert}" if alert else message.name
    closed = message.encrypted and not message.opened and message.name != "Encrypted"
    words = (
        f"{name} (closed)" if closed else f"{name} (opened)" if message.encrypted and message.opened else name
    )
    return (
        f'<line x1="{start}" y1="{y}" x2="{end + back}" y2="{y}" stroke="{colour}" stroke-width="2"{dashes}/>'
        f'<path d="{head}" fill="{colour}"/>'
        f'<text x="{(_LEFT + _RIGHT) // 2}" y="{y - 4}" text-anchor="middle" fill="currentColor">{html.escape(words)}</text>'
        f'<text x="{_RIGHT + 12}" y="{y + 4}" fill="currentColor">{message.size} B</text>'
    )
