"""A chip's eFuses as a picture and as a table: what is burned, what can be read, what can still be burned."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.display.tables import Table
from labkit.display.theme import COLOURS, INK, tint

if TYPE_CHECKING:
    from labkit.board import Efuses

_TOP, _ROW, _GAP, _WIDTH = 34, 46, 8, 760
_BITS = (350, 400)
"""Where the fuses of a block are drawn, and how wide."""

_ROWS = 4
"""The fuses of a block stand in so many lines."""

SECURITY = (
    "FLASH_CRYPT_CNT", "FLASH_CRYPT_CONFIG", "ABS_DONE_1", "JTAG_DISABLE", "UART_DOWNLOAD_DIS", "DISABLE_DL_ENCRYPT",
    "DISABLE_DL_DECRYPT", "DISABLE_DL_CACHE", "CODING_SCHEME", "SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN",
    "DIS_PAD_JTAG", "DIS_USB_JTAG", "DIS_DOWNLOAD_MODE", "ENABLE_SECURITY_DOWNLOAD", "DIS_DOWNLOAD_MANUAL_ENCRYPT",
    "KEY_PURPOSE_0", "KEY_PURPOSE_1", "KEY_PURPOSE_2", "KEY_PURPOSE_3", "KEY_PURPOSE_4", "KEY_PURPOSE_5",
    "SECURE_BOOT_KEY_REVOKE0", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2", "SECURE_VERSION", "RD_DIS", "WR_DIS",
)  # fmt: skip
"""The fields that decide how well a board is locked; those that are burned are told by name."""


@dataclass(frozen=True, slots=True)
class _Strip:
    """One block, as anybody may know it: of a key block never the bits."""

    name: str
    bits: int
    burned: int
    pattern: int | None
    readable: bool
    writable: bool

    @property
    def words(self) -> str:
        reading = "a program can read it" if self.readable else "no program can read it"
        burning = "can be burned" if self.writable else "can't be burned any more"
        return f"{reading}, {burning}"


@dataclass(frozen=True)
class EfuseMap:
    """A map to look at. Get one from `efuse_map`.

    Attributes:
        title: What it is a map of.
        fields: The security fields that are burned, by name.
    """

    title: str
    strips: tuple[_Strip, ...]
    fields: tuple[tuple[str, int], ...]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return the map as a table."""
        rows = [(strip.name, f"{strip.burned} of {strip.bits}", strip.words) for strip in self.strips]
        return str(Table(self.title, ("block", "fuses burned", "who may"), rows, self._note))

    @property
    def _note(self) -> str:
        told = ", ".join(f"{name} = {value:#x}" for name, value in self.fields)
        return f"Burned of what locks a board: {told}." if told else "Nothing that locks a board is burned."

    def _repr_html_(self) -> str:
        height = _TOP + len(self.strips) * (_ROW + _GAP)
        drawn = "".join(_drawn(strip, _TOP + row * (_ROW + _GAP)) for row, strip in enumerate(self.strips))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height}" '
            f'style="width:100%;max-width:{_WIDTH}px;height:auto;color:inherit" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{html.escape(self.title)}</title><desc>{html.escape(str(self))}</desc>"
            f'<text x="0" y="16" font-weight="600" fill="currentColor">{html.escape(self.title)}</text>{drawn}</svg>'
            f'<p style="margin:.2em 0">{html.escape(self._note)}</p>'
        )


def efuse_map(efuses: Efuses, title: str = "") -> EfuseMap:
    """Return a map of a chip's fuses to show. Of blocks that hold keys it shows how many fuses are burned, and not which.

    Args:
        efuses: The fuses.
        title: What it is a map of.
    """
    strips = []
    for block in efuses.blocks:
        bits = 32 * block.words
        true = int.from_bytes(efuses.raw(block.number), "little")
        # A key's picture would be the key. Blocks 1 to 3 of the ESP32 hold keys, on later chips those named so.
        secret = block.number > 0 if efuses.chip.name == "esp32" else "KEY" in block.name
        strips.append(
            _Strip(
                block.name, bits, true.bit_count(), None if secret else true,
                readable=efuses.readable(block.number) != 0, writable=efuses.writable(block.number) != 0,
            )
        )  # fmt: skip
    known = {field.name for field in efuses.fields}
    fields = [(name, efuses.field(name)) for name in SECURITY if name in known]
    shown = title or f"The eFuses of an {efuses.chip.title}"
    return EfuseMap(shown, tuple(strips), tuple(pair for pair in fields if pair[1]))


def _drawn(strip: _Strip, y: int) -> str:
    colour = COLOURS["attacker" if not strip.readable else "device" if strip.burned else "unknown"]
    left, width = _BITS
    words = html.escape(strip.words)
    return (
        f'<text x="0" y="{y + 18}" font-weight="600" fill="currentColor">{html.escape(strip.name)}</text>'
        f'<text x="0" y="{y + 36}" fill="currentColor">{words}</text>'
        f'<rect x="{left}" y="{y}" width="{width}" height="{_ROW}" rx="4" fill="{tint(colour)}" stroke="{colour}"/>'
        + (_cells(strip, y, colour) if strip.pattern is not None else _veil(strip, y))
    )


def _cells(strip: _Strip, y: int, colour: str) -> str:
    left, width = _BITS
    columns = -(-strip.bits // _ROWS)
    across, down = width / columns, _ROW / _ROWS
    burned = [n for n in range(strip.bits) if (strip.pattern or 0) >> n & 1]
    path = "".join(
        f"M{left + across * (n % columns):.1f} {y + down * (n // columns) + 1:.1f}h{across - 0.6:.1f}v{down - 2:.1f}h-{across - 0.6:.1f}z"
        for n in burned
    )
    return f'<path d="{path}" fill="{colour}"/>' if path else ""


def _veil(strip: _Strip, y: int) -> str:
    left, width = _BITS
    text = f"{strip.burned} of {strip.bits} fuses burned" if strip.burned else "blank"
    return f'<text x="{left + width / 2:.0f}" y="{y + 28}" text-anchor="middle" fill="{INK}">{text}</text>'
