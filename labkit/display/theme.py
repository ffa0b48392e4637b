"""One colour a role, the same in every figure; told apart with any kind of colour vision.

The palette is Okabe and Ito's ("Color Universal Design", 2008), darkened where text needs the contrast (WCAG 1.4.3).
Colour never carries meaning alone: a word stands beside it.
"""

COLOURS = {
    "root": "#0067A3",
    "intermediate": "#0067A3",
    "server": "#007A57",
    "device": "#9C6500",
    "attacker": "#B84A00",
    "unknown": "#5F6368",
}
"""The colour of a role's outline and heading."""

HELD = "#007A57"
FAILED = "#B84A00"
