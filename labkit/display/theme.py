"""One colour a role, the same in every figure; told apart with any kind of colour vision.

The palette is Okabe and Ito's ("Color Universal Design", 2008), darkened where text needs the contrast (WCAG 1.4.3).
Colour never carries meaning alone: a word stands beside it.
"""

COLOURS = {
    "root": "#0067A3",
    "intermediate": "#0067A3",
    "server": "#007A57",
    "device": "#966000",
    "attacker": "#B84A00",
    "unknown": "#5F6368",
}
"""The colour of a role's outline and heading."""

INK = "#1B1F24"
"""The colour of words on a tint."""


def tint(colour: str) -> str:
    """Return the light background that belongs to a role's colour."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * 0.06):02X}" for part in parts)
