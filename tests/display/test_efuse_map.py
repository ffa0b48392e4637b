"""labkit.display.efuse_map: fuses as a figure and as text."""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ET

import pytest

from labkit.board import Efuses, find_chip
from labkit.display import efuse_map

MAC = bytes.fromhex("24dcc3a1b2c4")


def test_a_new_chip_is_open() -> None:
    """Of a chip from the factory, nothing is burned that locks it, and every block can be read and burned."""
    shown = str(efuse_map(Efuses.fresh(find_chip("esp32"), mac=MAC)))
    assert "Nothing that locks a board is burned." in shown
    assert "can't" not in shown
    assert "no program" not in shown


def test_a_burned_key_is_counted_and_not_drawn() -> None:
    """A protected key's block says that nobody reads it and how many fuses are burned; its bits are nowhere."""
    efuses = Efuses.fresh(find_chip("esp32"), mac=MAC)
    key = secrets.token_bytes(32)
    efuses.burn({"BLOCK1": key, "FLASH_CRYPT_CNT": 1, "FLASH_CRYPT_CONFIG": 15, "RD_DIS": 1})
    shown = efuse_map(efuses, "Locked")
    line = next(line for line in str(shown).splitlines() if line.startswith("BLOCK1"))
    burned = int.from_bytes(key, "little").bit_count()
    assert f"{burned} of 256" in line
    assert "no program can read it" in line
    assert "FLASH_CRYPT_CNT = 0x1, FLASH_CRYPT_CONFIG = 0xf, RD_DIS = 0x1" in str(shown).splitlines()[-1]
    assert 1 == shown._repr_html_().count("<path")  # block 0 alone


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_the_figure_is_xml_with_its_text_inside(chip: str) -> None:
    """The figure parses and is an image to a screen reader, with a box for each block."""
    shown = efuse_map(Efuses.fresh(find_chip(chip), mac=MAC))
    root = ET.fromstring(shown._repr_html_().partition("</svg>")[0] + "</svg>")
    space = "{http://www.w3.org/2000/svg}"
    assert ("img", str(shown)) == (root.get("role"), root.findtext(f"{space}desc"))
    assert len(Efuses.fresh(find_chip(chip), mac=MAC).blocks) == len(list(root.iter(f"{space}rect")))
