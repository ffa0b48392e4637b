"""What a running application sees of its board: console, partitions, NVS, updates, and the way to start again.

Every access goes through the flash chip, so that it is counted, can be cut off by a power failure, and ends when the board
is reset: after that everything raises `PowerCut`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from labkit.board.flash_view import FlashView, flash_key
from labkit.board.nor_flash import PowerCut
from labkit.board.ota import Otadata, OtaUpdate
from labkit.board.verification import advance_secure_version
from labkit.errors import OtaRefusedError
from labkit.firmware.nvs_encryption import derive_keys, parse_key_partition
from labkit.firmware.nvs_store import NvsStore
from labkit.firmware.otadata import INVALID, PENDING_VERIFY, VALID
from labkit.firmware.partitions import DATA, NVS_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labkit.board.bootloader import Boot
    from labkit.board.chips import Chip
    from labkit.board.efuse import Efuses
    from labkit.board.nor_flash import NorFlash
    from labkit.firmware.nvs import NvsEntry
    from labkit.firmware.partitions import Partition, PartitionTable


_KEYS = 68
"""Bytes of a partition with NVS keys that mean something: the keys and their checksum."""


class Stopping(Protocol):
    """Says when the power goes, as `threading.Event` does."""

    def is_set(self) -> bool:
        """Return whether it is time to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait until it is time to stop, or some seconds; return whether it is time."""


class Machine:
    """A board that has booted, from the inside.

    Args:
        flash: The flash chip.
        efuses: The fuses.
        boot: What the boot chain found.
        say: Where console lines go.
        stopping: Set when the power goes.
        restart: Resets the board, soon; it is told why.

    Attributes:
        boot: See above.
        efuses: See above.
        stopping: See above.

    Raises:
        ValueError: Nothing has booted.
    """

    def __init__(
        self,
        flash: NorFlash,
        efuses: Efuses,
        boot: Boot,
        *,
        say: Callable[[str], None],
        stopping: Stopping,
        restart: Callable[[str], None],
    ) -> None:
        if boot.table is None or boot.slot is None or boot.image is None:
            text = "a machine needs a board that has booted"
            raise ValueError(text)
        self.boot, self.efuses, self.stopping = boot, efuses, stopping
        self.table: PartitionTable = boot.table
        self.slot: Partition = boot.slot
        self._image = boot.image
        self._view = FlashView(flash, flash_key(efuses))
        self._say, self._restart = say, restart

    def __repr__(self) -> str:
        return f"Machine({self.chip.title}, {self.slot.label}, {self.version})"

    @property
    def chip(self) -> Chip:
        """What kind of chip it is."""
        return self.efuses.chip

    @property
    def mac(self) -> bytes:
        """Its MAC."""
        return self.efuses.mac

    @property
    def version(self) -> str:
        """The version of the application that runs, as its image says."""
        return str(self.boot.outcome.detail["version"])

    def say(self, line: str) -> None:
        """Write a line to the console."""
        self._say(line)

    # --- partitions -----------------------------------------------------------------------------------------------

    def partition(self, label: str) -> Partition:
        """Return a partition by its label.

        Raises:
            KeyError: The table has none.
        """
        found = self.table.find(label)
        if found is None:
            raise KeyError(label)
        return found

    def read_partition(self, label: str) -> bytes:
        """Return what is in a partition, decrypted where flash encryption covers it.

        Raises:
            KeyError: The table has none.
            PowerCut: The power is gone.
        """
        part = self.partition(label)
        return self._view.read(part.offset, part.size, encrypted=part.encrypted)

    def write_partition(self, label: str, data: bytes) -> None:
        """Erase a partition and write it anew, encrypted where flash encryption covers it.

        Raises:
            KeyError: The table has none.
            ValueError: The data is longer than the partition.
            PowerCut: The power went; the partition is erased or half written.
        """
        part = self.partition(label)
        if len(data) > part.size:
            text = f"{len(data):#x} bytes do not fit into {label}, which has {part.size:#x}"
            raise ValueError(text)
        self._view.erase(part.offset, part.size)
        self._view.program(part.offset, data, encrypted=part.encrypted)

    # --- NVS ------------------------------------------------------------------------------------------------------

    def nvs(self, label: str) -> list[NvsEntry]:
        """Return the values of an NVS partition, decrypted where it is encrypted.

        Raises:
            KeyError: The table has none.
            FormatError: It can't be read, or its keys can't.
            PowerCut: The power is gone.
        """
        return self._store(label).entries()

    def write_nvs(self, label: str, entries: Sequence[NvsEntry]) -> None:
        """Make these the values of an NVS partition. Each value changes as a whole or not at all, one after the other.

        Raises:
            KeyError: The table has none.
            FormatError: It can't be read, or its keys can't.
            NvsRefusedError: NVS can't hold them.
            PowerCut: The power went.
        """
        self._store(label).replace(entries)

    def _store(self, label: str) -> NvsStore:
        part = self.partition(label)
        return NvsStore(_Medium(self._view, part), self._nvs_key())

    @property
    def nvs_protection(self) -> str:
        """How NVS is protected: `plain`, `keys` (a partition with its keys) or `hmac` (derived by the chip).

        The signed image decides (`"nvs"` in its behaviour), because otherwise whoever writes flash would: by writing
        plain values. An image that says nothing takes the keys that a partition `nvs_keys` holds, or plain values.
        """
        told = (self.boot.behaviour or {}).get("nvs")
        if told in {"plain", "keys", "hmac"}:
            return str(told)
        return "keys" if self._partition_keys() is not None else "plain"

    def _nvs_key(self) -> bytes | None:
        protection = self.nvs_protection
        if protection == "plain":
            return None
        if protection == "hmac":
            block = (self.boot.behaviour or {}).get("hmac_key", 0)
            secret = self.efuses.hmac_key(block) if isinstance(block, int) else None
            return derive_keys(secret or bytes(32))  # with no key burned, the hardware computes with zeros
        return self._partition_keys() or bytes(64)

    def _partition_keys(self) -> bytes | None:
        part = self.table.of_kind(DATA, NVS_KEYS)
        if part is None:
            return None
        # Blank is blank in the chip itself, as ESP-IDF has it: through the decryption, erased flash looks like noise.
        if not self._view.read(part.offset, _KEYS, encrypted=False).strip(b"\xff"):
            return None
        return parse_key_partition(self.read_partition(part.label))

    # --- updates --------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the application runs on trial: if nobody calls it valid, the next boot takes the one before."""
        return self._otadata.state_of(self.slot) == PENDING_VERIFY

    def begin_update(self, size: int | None = None) -> OtaUpdate:
        """Begin to write an application into the slot that does not run.

        Args:
            size: How long it will be, if that is known.

        Raises:
            OtaRefusedError: There is no other slot (`no-slot`), it is too small (`size`), or the application that runs is
                on trial itself (`pending`).
        """
        if self.pending:
            raise _refused("pending", "the application that runs has not been called valid yet")
        slots = self.table.ota_slots
        others = [slot for slot in slots if slot != self.slot]
        if not others:
            raise _refused("no-slot", "there is no other slot")
        later = slots[slots.index(self.slot) + 1 :] if self.slot in slots else slots
        target = later[0] if later else others[0]
        return OtaUpdate(self._view, self.efuses, target, self._otadata, size=size, options=self.boot.options)

    def mark_valid(self) -> None:
        """Keep the application that runs, and burn its security version: from now on older ones are refused.

        Raises:
            PowerCut: The power went; the application is still on trial, or the one before is back.
        """
        self._otadata.set_state(self.slot, VALID)
        if self.boot.options.get("anti_rollback", True):
            advance_secure_version(self.efuses, self._image)

    def mark_invalid_and_reboot(self) -> NoReturn:
        """Give up the application that runs and start the one before.

        Raises:
            OtaRefusedError: There is no other application to go to (`no-rollback`); nothing was changed.
            PowerCut: The board starts again.
        """
        otadata = self._otadata
        if otadata.state_of(self.slot) is None or not otadata.has_other(self.slot):
            raise _refused("no-rollback", "there is no other application to go back to")
        otadata.set_state(self.slot, INVALID)
        self.restart("rollback")

    def restart(self, why: str = "software") -> NoReturn:
        """Reset the board.

        Raises:
            PowerCut: Always: nothing of this run goes on.
        """
        self._restart(why)
        raise PowerCut

    @property
    def _otadata(self) -> Otadata:
        return Otadata(self._view, self.table)


class _Medium:
    """The flash of one NVS partition. Flash encryption does not cover NVS, which has its own."""

    def __init__(self, view: FlashView, part: Partition) -> None:
        self._view, self._part = view, part

    @property
    def size(self) -> int:
        return self._part.size

    def read(self, offset: int, length: int) -> bytes:
        return self._view.read(self._part.offset + offset, length, encrypted=False)

    def program(self, offset: int, data: bytes) -> None:
        self._view.program(self._part.offset + offset, data, encrypted=False)

    def erase(self, offset: int, length: int) -> None:
        self._view.erase(self._part.offset + offset, length)


def _refused(rule: str, why: str) -> OtaRefusedError:
    return OtaRefusedError(
        f"The update can't be: {why}.",
        advice="Look at the slots and their states on the console of the next boot.",
        rule=rule,
    )
