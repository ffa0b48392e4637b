"""The house that builds firmware: images by the real esptool, Secure Boot's signatures by the real espsecure, updates by ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit.board.chips import find_chip
from labkit.board.efuse import Efuses
from labkit.board.nor_flash import NorFlash
from labkit.firmware import build_image
from labkit.firmware.description import AppDescription
from labkit.firmware.partitions import COURSE_TABLE, OFFSET, build_table
from labkit.firmware.release import describe_release
from labkit.firmware.signing_keys import SigningKeys, new_passphrase
from labkit.firmware.tools import build_app, build_bootloader, run_tool, sign_image
from labkit.firmware.update import Manifest, Signer, parse_header, sign_update
from labkit.node.trust import render_trust
from labkit.workspace import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from labkit.firmware import NvsEntry
    from labkit.firmware.update import Version
    from labkit.workspace import Workspace

PRODUCT = "course-node"
HARDWARE = (1, 3)
"""The revisions of the board that releases are for."""

MAC = b"\x24\xdc\xc3\xa1\xb2\xc4"
CHUNK = 4096


class ReleaseHouse:
    """Whoever makes the firmware of a product, with its keys.

    Args:
        workspace: Where the keys are kept.
        chip: The chip that the product has.
        product: What it is called.
        secure_boot: Whether images carry Secure Boot V2 signatures.

    Attributes:
        keys: The keys that sign updates.
        passphrase: What opens them; in memory alone.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        chip: str = "esp32",
        product: str = PRODUCT,
        secure_boot: bool = True,
    ) -> None:
        self.workspace = workspace
        self.chip = find_chip(chip)
        self.product = product
        self.keys = SigningKeys(workspace)
        self.passphrase = new_passphrase()
        self.keys.create(self.passphrase)
        self._secure_boot = secure_boot
        # Each build takes two programs a second; what is asked for twice is the same twice.
        self._built: dict[object, bytes] = {}

    def __repr__(self) -> str:
        return f"<ReleaseHouse of {self.product}: {self.keys!r}>"

    @property
    def signer(self) -> Signer:
        """Who signs updates now."""
        return self.keys.signer(self.passphrase)

    # --- Secure Boot's keys --------------------------------------------------------------------------------------

    def boot_key(self, number: int = 0) -> Path:
        """Return a Secure Boot key (RSA-3072, PEM); espsecure makes it where there is none."""
        folder = make_folder(self.workspace.path("signing", "secure-boot"), private=True)
        path = folder / f"key{number}.pem"
        if not path.exists():
            run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072", path)
            path.chmod(0o600)
        return path

    def boot_digest(self, number: int = 0) -> bytes:
        """Return the digest of a Secure Boot key's public half, as it is burned into the chip."""
        target = self.boot_key(number).with_suffix(".digest")
        run_tool(
            "espsecure", "digest-sbv2-public-key", "--keyfile", self.boot_key(number), "--output", target
        )
        return target.read_bytes()

    # --- images --------------------------------------------------------------------------------------------------

    def image(
        self,
        version: str,
        *,
        product: str = "",
        secure_version: int = 0,
        fault: str = "",
        filler: bytes = b"",
        boot_keys: Sequence[int] = (0,),
    ) -> bytes:
        """Build an application image; it trusts the keys that sign updates at this moment.

        Args:
            version: What it says of itself.
            product: The same; ours without it.
            secure_version: The same.
            fault: What goes wrong when it runs; see `node.faults.FAULTS`.
            filler: More bytes.
            boot_keys: Which Secure Boot keys sign it.
        """
        behaviour = {"application": PRODUCT, **render_trust(self.keys.trusted())}
        if fault:
            behaviour["fault"] = fault
        described = AppDescription(product or self.product, version, secure_version)
        return self._once(
            (described, json.dumps(behaviour), filler, tuple(boot_keys)),
            lambda: self.sign_for_boot(
                build_app(self.chip.name, described, behaviour, filler=filler, min_revision=self._least),
                *boot_keys,
            ),
        )

    def _once(self, name: object, build: Callable[[], bytes]) -> bytes:
        if name not in self._built:
            self._built[name] = build()
        return self._built[name]

    def sign_for_boot(self, image: bytes, *numbers: int) -> bytes:
        """Return an image with Secure Boot's signatures, where this house makes any."""
        if not self._secure_boot or not numbers:
            return image
        return sign_image(image, *(self.boot_key(number) for number in numbers))

    def bootloader(self, *numbers: int) -> bytes:
        """Build the second stage; signed with these Secure Boot keys, the first without any."""
        return self.sign_for_boot(
            build_bootloader(self.chip.name, min_revision=self._least), *(numbers or (0,))
        )

    @property
    def _least(self) -> int:
        # Secure Boot V2 came to the ESP32 with its revision 3 (ESP-IDF, "Secure Boot v2", ESP32).
        return 300 if self.chip.name == "esp32" else 0

    def update(self, image: bytes, *, signer: Signer | None = None) -> bytes:
        """Put the signed header in front of an image; it says what the image says of itself."""
        release = describe_release(image)
        return sign_update(
            image,
            product=release.product,
            version=release.version,
            secure_version=release.secure_version,
            hardware=HARDWARE,
            signer=signer or self.signer,
        )

    # --- boards --------------------------------------------------------------------------------------------------

    def flash(self, image: bytes, values: Sequence[NvsEntry] = (), *, bootloader: bytes = b"") -> NorFlash:
        """Return a flash chip as it leaves the line: bootloader, table, an application, and the device's values."""
        identity = COURSE_TABLE.find("fctry")
        assert identity is not None  # noqa: S101 - the course's table has it
        flash = NorFlash()
        for offset, data in (
            (self.chip.bootloader_offset, bootloader or self.bootloader()),
            (OFFSET, build_table(COURSE_TABLE)),
            (identity.offset, build_image(values, size=identity.size)),
            (COURSE_TABLE.ota_slots[0].offset, image),
        ):
            flash.program(offset, data)
        return flash

    def efuses(self, *digests: int) -> Efuses:
        """Return the fuses of a chip that trusts these Secure Boot keys; Secure Boot is off without any.

        They are set here, as if they had been burned. To burn them with the real espefuse, take a virtual board.
        """
        efuses = Efuses.fresh(self.chip, mac=MAC)
        if not digests:
            return efuses
        if self.chip.name == "esp32":
            efuses.burn({"BLOCK2": self.boot_digest(digests[0]), "ABS_DONE_1": 1})
            return efuses
        purposes = {f"KEY_PURPOSE_{place}": 9 + place for place in range(len(digests))}
        blocks = {f"BLOCK_KEY{place}": self.boot_digest(number) for place, number in enumerate(digests)}
        efuses.burn({**blocks, **purposes, "SECURE_BOOT_EN": 1})
        return efuses


class Shelf:
    """Updates in memory: an update server for one device, without a network.

    Args:
        updates: What it has: the last one is offered.
        chunk: How many bytes it hands out at a time.

    Attributes:
        updates: See above.
        reports: What the device has told: version and code.
    """

    def __init__(self, *updates: bytes, chunk: int = CHUNK) -> None:
        self.updates = list(updates)
        self.reports: list[tuple[str, str]] = []
        self._chunk = chunk

    def manifest(
        self, product: str, *, hardware: int | None = None, version: Version | None = None
    ) -> bytes | None:
        """Return the manifest of the update that was put here last, whatever is asked for."""
        del product, hardware, version
        if not self.updates:
            return None
        header = parse_header(self.updates[-1]).header
        return Manifest(f"/updates/{header.product}/{header.version}.bin", header).render()

    def stream(self, path: str, *, start: int = 0, tag: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the update that was put here last."""
        del path, tag
        update = self.updates[-1]
        for at in range(start, len(update), self._chunk):
            yield "shelf", update[at : at + self._chunk]

    def report(self, product: str, version: Version, code: str) -> str:
        """Note what the device says."""
        del product
        self.reports.append((str(version), code))
        return "running"
