"""labkit.display.flash_map: a flash as a figure and as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from labkit.display.flash_map import Region, flash_map, measure

SHOWN = flash_map(
    [
        Region(0x200000, 0x200000, "ota_1", "the <other> slot", "code"),
        Region(0x10000, 0x6000, "fctry", "certificate and key", "identity", "the key"),
    ],
    note="so",
)


def test_the_text_has_every_part_in_order() -> None:
    """The twin is a table by offset, with size, what is in it and who reads what."""
    lines = str(SHOWN).splitlines()
    assert ["0x010000", "24", "KB", "fctry", "certificate", "and", "key", "the", "key"] == lines[3].split()
    assert ["0x200000", "2", "MB", "ota_1"] == lines[4].split()[:4]
    assert "so" == lines[-1]


def test_the_figure_is_xml_with_its_text_inside() -> None:
    """The figure parses, is an image to a screen reader, and its strip is to scale, but never invisible."""
    root = ET.fromstring(SHOWN._repr_html_().partition("</svg>")[0] + "</svg>")
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.findtext(f"{space}desc") == str(SHOWN)
    strip, small, _, large, _ = (float(each.get("height", "0")) for each in root.iter(f"{space}rect"))
    assert (large / strip, small) == (pytest.approx(0.5), 1.5)


def test_a_part_outside_the_flash_is_misuse() -> None:
    """What would be drawn outside the strip is refused."""
    with pytest.raises(ValueError, match="late is not in|late from"):
        flash_map([Region(0x3FF000, 0x2000, "late", "")])


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 B"), (0x6000, "24 KB"), (0x1E0000, "1.88 MB"), (1 << 20, "1 MB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    """Sizes are told in the largest unit that makes one."""
    assert words == measure(size)
