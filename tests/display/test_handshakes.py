"""labkit.display.handshakes: a recording as a picture and as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from labkit.display import timeline
from labkit.mqtt.handshake import Handshake, Message

SEEN = Handshake(
    (
        Message("client", "ClientHello", 157, 1, 0.0, encrypted=False, opened=True),
        Message("server", "ServerHello", 93, 2, 0.1, encrypted=False, opened=True, detail={"version": "1.3"}),
        Message("server", "Encrypted", 28, 2, 0.1, encrypted=True, opened=False),
        Message("client", "Finished", 36, 3, 0.2, encrypted=True, opened=True),
        Message("server", "Alert", 24, 4, 0.3, encrypted=True, opened=True, detail={"alert": "unknown_ca"}),
    ),
    {"client": 200, "server": 150},
)


def test_the_text_has_every_message() -> None:
    """The twin names each message, its flight, its direction and its size, and what was sent in all."""
    text = str(timeline(SEEN, "A refusal"))
    for words in (
        "A refusal",
        "client → server",
        "ServerHello",
        "157 bytes",
        "Alert: unknown_ca",
        "1 round trip before",
    ):
        assert words in text
    assert "The client sent 200 bytes, the server 150." in text


def test_the_figure_is_xml_with_its_text_inside() -> None:
    """The figure parses, is an image to a screen reader, and has an arrow for each message."""
    picture = timeline(SEEN, "A <refusal>")._repr_html_().partition("</svg>")[0] + "</svg>"
    root = ET.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.findtext(f"{space}desc") == str(timeline(SEEN, "A <refusal>"))
    assert len(list(root.iter(f"{space}path"))) == len(SEEN.messages)
    dashed = [line for line in root.iter(f"{space}line") if line.get("stroke-dasharray")]
    assert len(dashed) == 3


def test_long_recordings_are_cut_and_say_so() -> None:
    """Beyond the limit nothing is drawn, and the note says how much is missing."""
    cut = timeline(SEEN, limit=2)
    assert "3 more messages are not shown." in str(cut)
    assert "Alert" not in str(cut)
