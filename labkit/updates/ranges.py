"""The part of a file that a client asks for (RFC 9110 §14): one range of bytes, or everything."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", flags=re.ASCII)


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Return where a range begins and where it ends (the byte behind the last), or None for the whole file.

    What is no range of bytes, or more than one, is ignored, as §14.2 allows: several ranges save nobody anything here,
    and have been used to make servers work for little.

    Args:
        text: The header field `Range`; empty where there was none.
        size: How many bytes there are.

    Raises:
        ValueError: The range lies outside of the file (416).
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, end = size - min(int(last), size), size  # the last so many bytes
    else:
        start, end = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < int(first):
            return None  # §14.1.1: invalid, so it is no range at all
    if start >= end:
        why = f"{text.strip()[:40]} lies outside of {size} bytes"
        raise ValueError(why)
    return start, end
