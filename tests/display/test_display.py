"""labkit.display: figures with a text twin, safe in a page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from labkit.display import COLOURS, Table, chain_tree, outcome_table
from labkit.display.outcomes import witnesses
from labkit.display.theme import tint
from labkit.outcome import Outcome

if TYPE_CHECKING:
    from labkit.pki import Store

EVIL = "<script>alert('&')</script>"


def test_table_has_a_text_twin() -> None:
    """A table prints in columns, with cells of several lines and its note."""
    table = Table("Title", ("who", "what"), [("a", "one\ntwo"), ("bcd", 3)], note="A note.")
    assert str(table) == "Title\nwho  what\n---  ----\na    one\n     two\nbcd  3\nA note."
    assert repr(table) == str(table)


def test_table_is_accessible_and_escaped() -> None:
    """A table has a caption and scoped headings, and nothing in it becomes markup."""
    html = Table(EVIL, (EVIL,), [(EVIL,)], note=EVIL)._repr_html_()
    assert "<script" not in html
    assert "<caption" in html
    assert 'scope="col"' in html
    assert 'scope="row"' in html


def test_chain_tree_as_text(store: Store) -> None:
    """The tree's text twin shows the storeys in order."""
    store.issue_device("sensor-001")
    lines = str(chain_tree(store.tree())).splitlines()
    assert [line.split("  (")[0] for line in lines] == [
        "IoT Labs Root CA", "└─ IoT Labs Device CA", "   ├─ localhost", "   └─ sensor-001",
    ]  # fmt: skip


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, 1.4.3)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_words_in_boxes_can_be_read(store: Store) -> None:
    """Every word in a box stands out from the box, whatever the page's own colours are."""
    svg = ET.fromstring(chain_tree(store.tree())._repr_html_())
    space = "{http://www.w3.org/2000/svg}"
    for box in svg.findall(f"{space}g"):
        (fill,) = {rect.attrib["fill"] for rect in box.findall(f"{space}rect")}
        words = [text.attrib["fill"] for text in box.findall(f"{space}text")]
        assert len(words) == 3
        assert all(contrast(fill, colour) >= 4.5 for colour in words)
    assert all(contrast(tint(colour), colour) >= 4.5 for colour in COLOURS.values())


def test_chain_tree_as_picture(store: Store) -> None:
    """The picture is well-formed, has title and description, and a box and its words for each certificate."""
    store.issue_device("sensor-001")
    svg = ET.fromstring(chain_tree(store.tree())._repr_html_())
    space = "{http://www.w3.org/2000/svg}"
    assert len(svg.findall(f"{space}g/{space}rect")) == 4
    assert [svg.find(f"{space}{name}") is not None for name in ("title", "desc")] == [True, True]
    assert "sensor-001" in "".join(svg.itertext())


def test_witnesses_are_listed() -> None:
    """Each witness of an outcome gets a row of its own, and only if it said something."""
    detail = {"alert": "unknown_ca", "broker_log": ["one", "two"], "openssl": "error 20", "diagnosis": "why"}
    rows = witnesses(Outcome("tls", accepted=False, reason="unknown-ca", detail=detail))
    assert [label for label, _ in rows] == [
        "verdict",
        "because",
        "the client saw",
        "the broker wrote",
        "openssl verify",
    ]
    assert witnesses(Outcome("mqtt", accepted=True, reason="accepted")) == [("verdict", "accepted (mqtt)")]
    coded = Outcome("mqtt", accepted=False, reason="not-authorised", detail={"reason_code": 135})
    assert ("the client saw", "reason code 135 (0x87)") in witnesses(coded)
    local = Outcome("tcp", accepted=False, reason="timeout", detail={"client_error": "timed out"})
    assert ("the client saw", "timed out") in witnesses(local)


def test_outcomes_side_by_side() -> None:
    """Several outcomes stand in one table."""
    text = str(outcome_table({"nobody": Outcome("tls", accepted=False, reason="no-certificate")}))
    assert "nobody" in text
    assert "refused at tls: no-certificate" in text
