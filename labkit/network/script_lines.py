"""Cut a shell script into its commands as a shell does, where it has no more than one command a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ESCAPE = "\\"


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield each command with the offset at which its line begins; comments are left out, a backslash goes on.

    A comment ends with its line, whatever it ends with: a backslash in it must not hide the next command. It begins at
    a `#` that begins a word; `shlex` would cut words in two.
    """
    start, line, quote, before, comment = 0, list[str](), "", "", False
    for place, character in enumerate(text + "\n"):
        if character == "\n":
            if before == ESCAPE and not comment:
                line.pop()
                before = line[-1] if line else ""
                continue
            if told := "".join(line).strip():
                yield start, told
            start, line, quote, before, comment = place + 1, [], "", "", False
            continue
        comment = comment or (character == "#" and not quote and (not before or before.isspace()))
        if not comment:
            line.append(character)
            quote, before = _after(character, quote, before)


def _after(character: str, quote: str, before: str) -> tuple[str, str]:
    """Return the quotation mark that is open after a character, and what the next one has to know of it."""
    if before == ESCAPE:
        return quote, "x"
    if quote:
        quote = "" if character == quote else quote
    elif character in "'\"":
        quote = character
    return quote, "" if quote == "'" else character
