"""How a device takes an update: it streams into the other slot, and boots next only when it is whole.

The order is the one of docs/formats/update.md. Nothing of the slot is erased before the signed header was verified, and
what boots next changes in the last step alone. Power may go at any moment: what runs goes on, and the next try begins
anew. Each attempt ends in one line of the log with one code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from labkit.errors import (
    FlashBoundsError,
    MessageRefusedError,
    OtaRefusedError,
    RefusedError,
    ServiceUnreachableError,
    UpdateRefusedError,
)
from labkit.firmware import NvsEntry
from labkit.firmware.update import Target, TrustedKeys, Version, decide
from labkit.firmware.update_stream import UpdateStream
from labkit.node import layout
from labkit.node.codes import refused
from labkit.node.manifest import read_manifest
from labkit.node.trust import read_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.board.bootloader import Boot
    from labkit.firmware.update import Manifest
    from labkit.node.credentials import Values

OK = "ok"
"""What is reported of an update that has proved itself."""

UNREPORTED = frozenset({"version-not-newer", "version-rolled-back", "service-unreachable", "service-refused"})
"""Codes that say nothing about an update."""

TRIES = 5
"""Connections in a row that may end without a byte of progress before an update is given up for now."""


class Slot(Protocol):
    """The way into the other slot, `board.OtaUpdate`."""

    def write(self, data: bytes) -> None:
        """Write the next bytes."""

    def finish(self) -> object:
        """Look at what was written, as the bootloader will."""

    def set_boot(self) -> None:
        """Make it the slot that boots next."""


class Updatable(Protocol):
    """What the updater sees of a board, `board.Machine`."""

    @property
    def boot(self) -> Boot | None:
        """How it came to run what it runs."""

    def begin_update(self, size: int | None = None) -> Slot:
        """Begin to write into the other slot."""


class UpdateSource(Protocol):
    """Where updates come from: the update service's client, or a folder."""

    def manifest(
        self, product: str, *, hardware: int | None = None, version: Version | None = None
    ) -> bytes | None:
        """Return the manifest of what there is for us; None where that is nothing."""

    def stream(self, path: str, *, start: int = 0, tag: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield an update from some byte on, in chunks, each with a word that stands for the whole of these bytes."""

    def report(self, product: str, version: Version, code: str) -> str:
        """Tell what became of an update: `ok`, or the code of what went wrong."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a device stands before an update.

    Attributes:
        trusted: Whose signatures the image that runs takes.
        target: What the device is.
    """

    trusted: TrustedKeys
    target: Target


def standing(board: Updatable, values: Values) -> Standing:
    """Return where a device stands: by its own image, its board and its values; a server is not asked.

    Raises:
        MessageRefusedError: `trust-missing`: the image has no word about itself that makes sense; `nvs-content`.
    """
    boot = board.boot
    description = boot.image.description if boot and boot.image else None
    if boot is None or description is None or boot.table is None or boot.slot is None:
        raise refused("trust-missing", "the image does not say what it is")
    others = [slot.size for slot in boot.table.ota_slots if slot != boot.slot]
    try:
        target = Target(
            product=description.project,
            hardware=values.number(layout.IDENTITY, layout.HARDWARE) or 0,
            version=Version.parse(description.version),
            secure_version=description.secure_version,
            slot_size=min(others, default=0),
            rolled_back=failed(values),
        )
    except ValueError as error:
        raise refused("trust-missing", "the image's version is none") from error
    return Standing(read_trust(boot.behaviour), target)


class Updater:
    """One device's way to its next image.

    Args:
        board: The board.
        values: The device's values.
        log: Writes a line: tag, code, values.
        pause: What to do before the next connection.
    """

    def __init__(
        self,
        board: Updatable,
        values: Values,
        *,
        log: Callable[..., None],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._board, self._values, self._log, self._pause = board, values, log, pause
        self._begin()

    def _begin(self) -> None:
        self._slot: Slot | None = None
        self._flashed = 0
        self._offered: Version | None = None

    def run(self, source: UpdateSource) -> str:
        """Look for an update, and take it if there is one; return the code of what became of it.

        `update-staged` means: restart now. After every other code the device runs on as it was, and boots as it would
        have.
        """
        self._begin()
        try:
            code, told = self._update(source)
        except UpdateRefusedError as error:
            code, told = error.rule, {}
        except MessageRefusedError as error:
            code, told = error.code, {}
        except ServiceUnreachableError:
            code, told = "service-unreachable", {}
        except RefusedError as error:
            code, told = "service-refused", {"why": error.code}
        self._log("lab_update", code, flashed=self._flashed, **told)
        if self._offered is not None and code != "update-staged" and code not in UNREPORTED:
            self.report(source, self._offered, code)
        return code

    def report(self, source: UpdateSource, version: Version, code: str) -> None:
        """Tell the service what became of an update; where that fails, the log says so and the device goes on."""
        try:
            source.report(standing(self._board, self._values).target.product, version, code)
        except (ServiceUnreachableError, RefusedError) as error:
            why = "service-refused" if isinstance(error, RefusedError) else "service-unreachable"
            self._log("lab_update", why, what="report")

    def _update(self, source: UpdateSource) -> tuple[str, dict[str, object]]:
        stand = standing(self._board, self._values)
        target = stand.target
        body = source.manifest(target.product, hardware=target.hardware, version=target.version)
        if body is None:
            return "update-none", {"version": target.version}
        manifest = read_manifest(body)
        self._offered = manifest.header.version
        # The manifest is only a hint, but a hint at something that we would refuse saves us the download.
        outcome = decide(manifest.header, target)
        if not outcome.accepted:
            return outcome.reason, {"version": manifest.header.version}
        self._take(source, manifest, stand)
        self._stage(manifest.header.version)
        return "update-staged", {"version": manifest.header.version}

    def _take(self, source: UpdateSource, manifest: Manifest, stand: Standing) -> None:
        stream = UpdateStream(stand.trusted, stand.target, manifest=manifest)
        taken, tag, fruitless = 0, "", 0
        while True:
            before = taken
            try:
                for found, chunk in source.stream(manifest.path, start=taken, tag=tag):
                    tag, taken = found, taken + len(chunk)
                    self._put(stream, chunk)
                stream.finish()
            except ServiceUnreachableError:
                fruitless = 0 if taken > before else fruitless + 1
                if fruitless >= TRIES:
                    raise
                self._pause()
            else:
                return

    def _put(self, stream: UpdateStream, chunk: bytes) -> None:
        image = stream.feed(chunk)
        if not image or stream.header is None:
            return
        try:
            if self._slot is None:
                self._slot = self._board.begin_update(stream.header.size)
            self._slot.write(image)
        except (FlashBoundsError, OtaRefusedError) as error:
            raise refused("slot-failed", error.message) from error
        self._flashed += len(image)

    def _stage(self, version: Version) -> None:
        slot = self._slot
        assert slot is not None  # noqa: S101 - no image is of no bytes, so one was begun
        try:
            slot.finish()
            slot.set_boot()
        except OtaRefusedError as error:
            raise refused("image-refused", error.rule) from error
        # Not before: if the power went between the two, a good update would be taken for one that has failed, for ever.
        # This way round it is only tried once more.
        self._values.put(NvsEntry(layout.UPDATE, layout.TRIED, "string", str(version)))


def failed(values: Values) -> Version | None:
    """Return the version that did not prove itself on this device, if there was one.

    Raises:
        MessageRefusedError: `nvs-content`.
    """
    text = values.text(layout.UPDATE, layout.FAILED)
    try:
        return Version.parse(text) if text else None
    except ValueError as error:
        raise refused("nvs-content", layout.FAILED) from error


def settle(values: Values, running: str) -> bool:
    """Look back, at boot, at the update that was tried last; return whether it did not prove itself.

    Its version is remembered and not taken again.

    Args:
        values: The device's values.
        running: The version that runs now, and is not on trial.
    """
    tried = values.text(layout.UPDATE, layout.TRIED)
    if tried is None:
        return False
    if tried != running:
        values.put(NvsEntry(layout.UPDATE, layout.FAILED, "string", tried))
    values.drop(layout.UPDATE, layout.TRIED)
    return tried != running
