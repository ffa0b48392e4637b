"""The device's own values, in an NVS partition: identity in two slots, settings, and where the services are.

NVS is the truth. TLS libraries take certificates and keys as files, so a copy lies in a private folder while the device
runs, as it would lie in a board's memory; it goes with the power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from labkit.errors import FormatError
from labkit.firmware import NvsEntry
from labkit.node import layout
from labkit.node.codes import refused
from labkit.provisioning.slots import Slots
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_T = TypeVar("_T", str, int)

_KEYS = {
    "token": layout.TOKEN,
    "in-use": layout.IN_USE,
    "next": layout.NEXT,
    **{f"{slot}.key": names[0] for slot, names in layout.SLOTS.items()},
    **{f"{slot}.crt": names[1] for slot, names in layout.SLOTS.items()},
}
"""The key of NVS for each file of `Slots`."""


class Flash(Protocol):
    """The part of a board that keeps values: `board.Machine`, or a test's own."""

    def nvs(self, label: str) -> list[NvsEntry]:
        """Return the values of an NVS partition, decrypted where it is encrypted."""

    def write_nvs(self, label: str, entries: list[NvsEntry]) -> None:
        """Replace the values of an NVS partition."""


class Values:
    """What the partition of a device holds.

    Args:
        flash: Where it is.
        label: The partition.

    Raises:
        MessageRefusedError: `nvs-missing`: there is no such partition; `nvs-content`: it can't be read;
            `nvs-too-long`: a value was not written by us.
    """

    def __init__(self, flash: Flash, label: str = layout.PARTITION) -> None:
        self._flash, self._label = flash, label
        try:
            entries = flash.nvs(label)
        except FormatError as error:
            raise refused("nvs-content", error.message) from error
        except KeyError as error:
            raise refused("nvs-missing", label) from error
        self._entries = {(entry.namespace, entry.key): entry for entry in entries}
        for entry in entries:
            longest = layout.LONGEST.get(entry.key)
            if longest is not None and isinstance(entry.value, str) and len(entry.value.encode()) > longest:
                raise refused("nvs-too-long", entry.key)

    def __repr__(self) -> str:
        return f"<Values of {self._label}: {len(self._entries)} entries>"

    def text(self, namespace: str, key: str) -> str | None:
        """Return a text, or None where there is none.

        Raises:
            MessageRefusedError: `nvs-content`: something else is stored there.
        """
        return self._value(namespace, key, str)

    def number(self, namespace: str, key: str) -> int | None:
        """Return a number, or None where there is none.

        Raises:
            MessageRefusedError: `nvs-content`.
        """
        return self._value(namespace, key, int)

    def _value(self, namespace: str, key: str, kind: type[_T]) -> _T | None:
        entry = self._entries.get((namespace, key))
        if entry is None:
            return None
        if not isinstance(entry.value, kind):
            raise refused("nvs-content", key)
        return entry.value

    def put(self, *entries: NvsEntry) -> None:
        """Store values; what was there under the same names is replaced."""
        changed = {**self._entries, **{(entry.namespace, entry.key): entry for entry in entries}}
        self._store(changed)

    def drop(self, namespace: str, key: str) -> None:
        """Erase a value; nothing happens where there is none."""
        if (namespace, key) in self._entries:
            self._store({name: entry for name, entry in self._entries.items() if name != (namespace, key)})

    def _store(self, changed: dict[tuple[str, str], NvsEntry]) -> None:
        if changed != self._entries:
            self._flash.write_nvs(self._label, _grouped(changed.values()))
            self._entries = changed


def _grouped(entries: Iterable[NvsEntry]) -> list[NvsEntry]:
    found = list(entries)
    order = {name: number for number, name in enumerate(dict.fromkeys(entry.namespace for entry in found))}
    return sorted(found, key=lambda entry: order[entry.namespace])


class BoardSlots(Slots):
    """The two slots of a device whose store is NVS.

    Args:
        values: The device's values.
        folder: A private folder for as long as the device runs.
    """

    def __init__(self, values: Values, folder: Path) -> None:
        super().__init__(folder)
        self._values = values
        for name, key in _KEYS.items():
            stored = values.text(layout.IDENTITY, key)
            if stored is not None:
                write_atomic(self._path(name), stored, secret=True)
        if values.text(layout.IDENTITY, layout.IN_USE) is None and self.complete(self._slot("a")):
            write_atomic(self._path("in-use"), "a")  # the line writes an identity, and no word about slots

    def _put(self, name: str, value: str | bytes, *, secret: bool = False) -> None:
        text = value if isinstance(value, str) else value.decode()
        self._values.put(NvsEntry(layout.IDENTITY, _KEYS[name], "string", text))
        super()._put(name, value, secret=secret)

    def _drop(self, name: str) -> None:
        self._values.drop(layout.IDENTITY, _KEYS[name])
        super()._drop(name)
