"""An update with the power cut at every single operation of the flash chip, and what runs after each.

The update is the device's own (`node.updating`), the reboot the virtual board's bootloader with Secure Boot on. The one
thing that is played is the broker: a device that runs the new image is taken to have reached it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from labkit.board.bootloader import boot
from labkit.board.machine import Machine
from labkit.board.nor_flash import NorFlash, PowerCut
from labkit.firmware import NvsEntry
from labkit.firmware.partitions import COURSE_TABLE
from labkit.node import layout
from labkit.node.credentials import Values
from labkit.node.updating import Updater, settle
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios.releases import HARDWARE, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.board.bootloader import Boot
    from labkit.board.efuse import Efuses
    from labkit.node.updating import UpdateSource
    from labkit.scenarios.releases import ReleaseHouse

OLD, TRIAL, NEW, DARK, UNSIGNED = (
    "the old image runs",
    "the new one, on trial",
    "the new one, confirmed",
    "nothing boots",
    "something unsigned runs",
)
STATES = (OLD, TRIAL, NEW, DARK, UNSIGNED)
"""What there can be after a reboot."""

_PHASES = {
    ("update", "ota"): "write the image",
    ("update", "otadata"): "choose the slot",
    ("update", "fctry"): "note the trial",
    ("trial", "otadata"): "first boot",
    ("confirm", "otadata"): "call it valid",
    ("confirm", "fctry"): "forget the note",
}


class WatchedFlash(NorFlash):
    """A flash chip that knows what each operation was for.

    Attributes:
        step: What the device is doing.
        phases: What each operation belonged to.
    """

    def __init__(self, data: bytes, *, cut_after: int | None = None) -> None:
        super().__init__(data, cut_after=cut_after)
        self.step = "boot"
        self.phases: list[str] = []

    def program(self, offset: int, data: bytes) -> None:
        """See `NorFlash.program`."""
        try:
            super().program(offset, data)
        finally:
            self._note(offset)

    def erase(self, offset: int, length: int) -> None:
        """See `NorFlash.erase`."""
        try:
            super().erase(offset, length)
        finally:
            self._note(offset)

    def _note(self, offset: int) -> None:
        part = next((one for one in COURSE_TABLE if one.offset <= offset < one.end), None)
        label = "none" if part is None else "ota" if part in COURSE_TABLE.ota_slots else part.label
        phase = _PHASES.get((self.step, label), f"{self.step}: {label}")
        self.phases += [phase] * (self.operations - len(self.phases))


@dataclass(frozen=True, slots=True)
class Cut:
    """One point of the sweep.

    Attributes:
        operation: The power goes in place of the operation after this many.
        phase: What that operation belonged to.
        after: What runs after the reboot.
        finally_: What runs when the device was left to itself from then on.
        code: With which code its next look for an update ended, if it looked.
    """

    operation: int
    phase: str
    after: str
    finally_: str
    code: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """All points of it.

    Attributes:
        cuts: Each operation, in order.
        uncut: What runs when the power never goes.
    """

    cuts: tuple[Cut, ...]
    uncut: str

    def count(self, *, finally_: bool = False) -> Counter[str]:
        """Return how often each state was met: after the reboot, or in the end."""
        return Counter(cut.finally_ if finally_ else cut.after for cut in self.cuts)

    @property
    def outcome(self) -> Outcome:
        """Whether at every point something boots, and nothing that nobody signed; at the stage `application`."""
        met = self.count()
        told = ", ".join(f"{state}: {met[state]}" for state in STATES)
        detail = {"found": f"{len(self.cuts)} points; {told}", "points": len(self.cuts)}
        reason = "unsigned" if met[UNSIGNED] else "dark" if met[DARK] else ACCEPTED
        return Outcome("application", accepted=reason == ACCEPTED, reason=reason, detail=detail)


@dataclass(frozen=True)
class CutBench:
    """A board, an update for it, and what each of the two images is.

    Attributes:
        flash: What the board's flash holds before the update.
        efuses: The board's fuses.
        source: Where the update comes from.
        old: The image that runs, as it lies in flash.
        new: The image that is to run.
    """

    flash: bytes
    efuses: Efuses
    source: UpdateSource
    old: bytes
    new: bytes

    @classmethod
    def of(cls, house: ReleaseHouse, old: bytes, new: bytes) -> CutBench:
        """Put a board on the bench that has Secure Boot on and runs an image, and the update to another one beside it."""
        values = [
            NvsEntry(layout.IDENTITY, layout.DEVICE_ID, "string", "sensor-001"),
            NvsEntry(layout.IDENTITY, layout.HARDWARE, "u16", HARDWARE[0]),
        ]
        flash, efuses = house.flash(old, values), house.efuses(0)
        boot(flash, efuses)  # the first boot of all notes its slot, and is no part of an update
        return cls(flash.image(), efuses, Shelf(house.update(new)), old, new)

    def sweep(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Sweep:
        """Cut the power at every operation of an update, from the download to the confirmation.

        Args:
            progress: Told how many points are done, and how many there are.
        """
        phases, uncut = self._without_a_cut()
        cuts = []
        for number, phase in enumerate(phases):
            cuts.append(self.cut(number, phase))
            progress(number + 1, len(phases))
        return Sweep(tuple(cuts), uncut)

    def _without_a_cut(self) -> tuple[list[str], str]:
        flash, efuses = WatchedFlash(self.flash), self.efuses.copy()
        found, _ = self._live(flash, efuses, boot(flash, efuses))
        return flash.phases, self._state(flash, efuses, found)

    def cut(self, operation: int, phase: str = "") -> Cut:
        """Let the power last for a number of operations, and see what runs after the reboot, and in the end."""
        flash, efuses = WatchedFlash(self.flash, cut_after=operation), self.efuses.copy()
        with suppress(PowerCut):
            self._live(flash, efuses, boot(flash, efuses))
        flash.cut_after = None
        found = boot(flash, efuses)
        after = self._state(flash, efuses, found)
        found, code = self._live(flash, efuses, found)
        return Cut(operation, phase, after, self._state(flash, efuses, found), code)

    def _live(self, flash: WatchedFlash, efuses: Efuses, found: Boot) -> tuple[Boot, str]:
        """Live as a device does from a boot on, until nothing more happens; return what runs then, and the last code."""
        code = ""
        while found.booted:
            machine = _machine(flash, efuses, found)
            values = Values(machine)
            flash.step = "confirm"
            if machine.pending:
                machine.mark_valid()
            settle(values, machine.version)
            flash.step = "update"
            code = Updater(machine, values, log=_silent).run(self.source)
            if code != "update-staged":
                break
            flash.step = "trial"
            found = boot(flash, efuses)
        return found, code

    def _state(self, flash: NorFlash, efuses: Efuses, found: Boot) -> str:
        if not found.booted or found.slot is None:
            return DARK
        content = flash.read(found.slot.offset, max(len(self.old), len(self.new)))
        if content.startswith(self.old):
            return OLD
        if not content.startswith(self.new):
            return UNSIGNED
        return TRIAL if _machine(flash, efuses, found).pending else NEW


def _machine(flash: NorFlash, efuses: Efuses, found: Boot) -> Machine:
    return Machine(flash, efuses, found, say=_silent, stopping=Event(), restart=_silent)


def _silent(*_: object, **__: object) -> None:
    return None
