"""JSON as a small device reads it: one object, bounded in length and depth, UTF-8, nothing twice.

The device meets JSON in commands, in replies of the services and in manifests. Each of them may come from somebody
who means harm, so this reader takes less than Python's own: no byte order mark, no `NaN`, no half of a surrogate pair, no
field twice in an object that is looked into. The C twin (`lab_json.c`) takes and refuses the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from labkit.node.codes import refused

DEPTH = 8
"""How deep objects and lists may be nested; the outermost object is the first level."""

LONGEST_INTEGER = 18
"""Digits of the longest integer that is looked at: it fits into 64 bits whatever the digits are."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A number as it was written."""

    text: str


class _Pairs(list[tuple[str, Any]]):
    """The fields of an object; a list of JSON is a plain one."""


class Document:
    """An object that was read. Get one from `read_object`.

    Args:
        pairs: Its fields in their order.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self._pairs = pairs

    @property
    def names(self) -> list[str]:
        """The names of its fields."""
        return [name for name, _ in self._pairs]

    def has(self, name: str) -> bool:
        """Return whether there is such a field."""
        return name in self.names

    def only(self, *names: str) -> None:
        """Verify that there are no other fields.

        Raises:
            MessageRefusedError: `json-field-unknown`.
        """
        for name in self.names:
            if name not in names:
                raise refused("json-field-unknown", repr(name[:20]))

    def text(self, name: str, *, longest: int) -> str:
        """Return a text of 1 to `longest` bytes in UTF-8, without a NUL.

        Raises:
            MessageRefusedError: `json-field-missing`, `json-field-twice`, `json-field-kind` or `json-range`.
        """
        value = self._one(name, str)
        if not 0 < len(value.encode()) <= longest or "\0" in value:
            raise refused("json-range", name)
        return str(value)

    def integer(self, name: str, low: int, high: int) -> int:
        """Return an integer between two bounds, both allowed.

        Raises:
            MessageRefusedError: As `text`.
        """
        digits = self._one(name, _Number).text.removeprefix("-")
        if not digits.isdigit():  # a fraction or an exponent
            raise refused("json-field-kind", name)
        value = int(self._one(name, _Number).text) if len(digits) <= LONGEST_INTEGER else high + 1
        if not low <= value <= high:
            raise refused("json-range", name)
        return value

    def object(self, name: str) -> Document:
        """Return an object inside.

        Raises:
            MessageRefusedError: `json-field-missing`, `json-field-twice` or `json-field-kind`.
        """
        return Document(self._one(name, _Pairs))

    def _one(self, name: str, kind: type) -> Any:
        found = [value for key, value in self._pairs if key == name]
        if not found:
            raise refused("json-field-missing", name)
        if len(found) > 1:
            raise refused("json-field-twice", name)
        if type(found[0]) is not kind:
            raise refused("json-field-kind", name)
        return found[0]


def read_object(data: bytes, *, longest: int) -> Document:
    """Return the object in some bytes.

    Args:
        data: What came in.
        longest: How many bytes are read at most.

    Raises:
        MessageRefusedError: `json-too-long` or `json-syntax`.
    """
    if len(data) > longest:
        raise refused("json-too-long", f"{len(data)} bytes, and {longest} are read.")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_Pairs,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_constant,
        )
        _verify(value, DEPTH)
    except (ValueError, RecursionError) as error:
        raise refused("json-syntax", "") from error
    if not isinstance(value, _Pairs):
        raise refused("json-syntax", "It is no object.")
    return Document(value)


def _verify(value: Any, depth: int) -> None:
    """Raise ValueError where nesting is too deep, or half of a surrogate pair stands alone (RFC 8259 §8.2)."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        if depth == 0:
            raise ValueError
        for inner in value:
            for part in inner if isinstance(value, _Pairs) else [inner]:
                _verify(part, depth - 1)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
