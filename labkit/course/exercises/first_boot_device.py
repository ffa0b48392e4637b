"""A device on its first day, as exercise first-boot sees it: a store in flash, a service, a broker, and power that may fail."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.board.nor_flash import NorFlash, PowerCut
from labkit.errors import NotConnectedError, RefusedError, SlotsError
from labkit.firmware import NvsEntry
from labkit.firmware.nvs_store import NvsStore
from labkit.firmware.partitions import COURSE_TABLE
from labkit.node import layout
from labkit.pki import IdentityFiles
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.outcome import Outcome

METHODS = ("load", "store", "erase", "provision", "connect")
"""What a program on the device may call."""

NAMES = (layout.TOKEN, *layout.SLOTS["a"])
"""What it may store: `token`, `key`, `chain`, as the course's node does."""

_PART = COURSE_TABLE.find(layout.PARTITION)
assert _PART is not None  # noqa: S101 - of the course's own table
SIZE = _PART.size


class Device:
    """A device: what its program can do. The store is an NVS partition in flash.

    Args:
        device_id: Its id.
        provision: Asks the service: token and request in, chain out.
        knock: Tries an identity at the broker.

    Attributes:
        id: Its id.
        calls: What its program has called since it was last switched on.
        refused: The codes of the service's refusals since then.
        cut_after: After how many more calls that change anything the power fails; never, with None.
    """

    def __init__(
        self,
        device_id: str,
        *,
        provision: Callable[[str, bytes], str],
        knock: Callable[[IdentityFiles], Outcome],
    ) -> None:
        self.id = device_id
        self.calls: list[str] = []
        self.refused: list[str] = []
        self.cut_after: int | None = None
        self._flash = NorFlash(size=SIZE)
        self._provision, self._knock = provision, knock

    def __repr__(self) -> str:
        return f"<Device {self.id}: {', '.join(self.stored) or 'nothing stored'}>"

    # --- what its program calls ----------------------------------------------------------------------------------

    def load(self, name: str) -> str | None:
        """Return what is stored under a name, or None."""
        self.calls.append("load")
        return self.stored.get(_name(name))

    def store(self, name: str, text: Any) -> None:
        """Store a text under a name; what was there is replaced."""
        if not isinstance(text, str):
            message = f"a {type(text).__name__} can't be stored, only a text"
            raise TypeError(message)
        self._write({**self.stored, _name(name): text})
        self._done("store")

    def erase(self, name: str) -> None:
        """Erase what is stored under a name; nothing happens where there is nothing."""
        self._write({key: text for key, text in self.stored.items() if key != _name(name)})
        self._done("erase")

    def provision(self, token: str, csr: str | bytes) -> str:
        """Ask the service for a certificate, and return its chain.

        Raises:
            RefusedError: The service says no; the error has its code.
            ServiceUnreachableError: It did not answer.
        """
        try:
            return self._provision(token, csr.encode() if isinstance(csr, str) else csr)
        except RefusedError as error:
            self.refused.append(error.code)
            raise
        finally:
            self._done("provision")

    def connect(self) -> None:
        """Connect to the broker with the key and the chain that are stored.

        Raises:
            SlotsError: There are none.
            NotConnectedError: It was refused.
        """
        key_name, chain_name = layout.SLOTS["a"]
        stored = self.stored
        self._done("connect")
        if key_name not in stored or chain_name not in stored:
            raise SlotsError(
                f"{self.id} has no identity stored.", advice="Store key and chain first.", path=Path(self.id)
            )
        with tempfile.TemporaryDirectory(prefix="labkit-device-") as folder:
            files = IdentityFiles(
                self.id,
                write_atomic(Path(folder, "device.crt"), stored[chain_name]),
                write_atomic(Path(folder, "device.key"), stored[key_name], secret=True),
            )
            outcome = self._knock(files)
        if not outcome.accepted:
            raise NotConnectedError(
                f"The broker did not let {self.id} in: {outcome}.",
                advice="Do key and chain belong together? Who signed the chain?",
                outcome=outcome,
            )

    # --- what is done to it --------------------------------------------------------------------------------------

    def switch_on(self, *, cut_after: int | None = None) -> None:
        """Give it power: a program begins from the beginning.

        Args:
            cut_after: After how many calls that change anything the power fails.
        """
        self.calls, self.refused, self.cut_after = [], [], cut_after

    @property
    def steps(self) -> list[str]:
        """What its program has called that changes anything, since it was last switched on."""
        return [name for name in self.calls if name != "load"]

    @property
    def stored(self) -> dict[str, str]:
        """What is stored, by name."""
        return {entry.key: str(entry.value) for entry in NvsStore(self._flash).entries()}

    def put(self, **texts: str) -> None:
        """Store what the factory puts into it."""
        self._write({**self.stored, **texts})

    def wipe(self) -> None:
        """Erase everything that is stored."""
        self._write({})

    def _write(self, texts: dict[str, str]) -> None:
        NvsStore(self._flash).replace(
            [NvsEntry(layout.IDENTITY, key, "string", text) for key, text in texts.items()]
        )

    def _done(self, name: str) -> None:
        self.calls.append(name)
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after <= 0:
                raise PowerCut


def _name(name: str) -> str:
    if name not in NAMES:
        text = f"{name!r} is none of {', '.join(NAMES)}"
        raise ValueError(text)
    return name


def run(boot: Callable[[Device], object], device: Device, *, cut_after: int | None = None) -> str:
    """Switch a device on, let a program run on it, and say what became of it.

    Args:
        boot: The program.
        device: The device.
        cut_after: After how many calls that change anything the power fails.

    Returns:
        What it called, and how it ended, in words.
    """
    device.switch_on(cut_after=cut_after)
    try:
        boot(device)
    except PowerCut:
        ended = "the power failed"
    else:
        ended = "done"
    return f"{' > '.join(device.calls)}: {ended}"
