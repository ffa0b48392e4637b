"""A device's own store of its identity: two slots, so that no crash ever leaves it without one that works.

The layout is that of the firmware's partition: a token, two slots with a key and a chain each, and the name of the slot
in use. Everything is written whole or not at all; the name of the slot is written last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from labkit.errors import LabError, SlotsError
from labkit.pki import IdentityFiles, Key
from labkit.pki.keys import check_policy, fingerprint
from labkit.workspace import make_folder, os_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = ("a", "b")


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot.

    Attributes:
        name: `a` or `b`.
        key: The file of its key, 0600.
        chain: The file of its certificate and the authorities above it, leaf first.
    """

    name: str
    key: Path
    chain: Path

    def __repr__(self) -> str:
        return f"<slot {self.name}: {self.key.name}, {self.chain.name}>"

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate."""
        return x509.load_pem_x509_certificate(self.chain.read_bytes())

    def files(self, device_id: str) -> IdentityFiles:
        """Return the slot as an identity, for a TLS connection."""
        return IdentityFiles(device_id, self.chain, self.key)


class Slots:
    """The store of one device.

    Args:
        folder: Where it is; made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder, private=True)

    def __repr__(self) -> str:
        return f"<Slots in {self.folder.name}>"

    @property
    def token(self) -> str | None:
        """The token that the device was shipped with; None when it was spent and erased."""
        try:
            return self._path("token").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def put_token(self, token: str) -> None:
        """Put a token in, as the factory does."""
        self._put("token", token, secret=True)

    def erase_token(self) -> None:
        """Erase the token; a second time does nothing.

        Does not check: that the medium forgets it. Flash keeps old pages until they are erased; a spent token is
        worth nothing, and that is what counts.
        """
        self._drop("token")

    @property
    def current(self) -> Slot | None:
        """The slot in use, or None before the first enrolment.

        Raises:
            SlotsError: The slot that should be in use holds no identity.
        """
        try:
            with os_errors(self.folder):
                name = self._path("in-use").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        slot = self._slot(name) if name in SLOTS else None
        if slot is None or not self.complete(slot):
            raise SlotsError(
                f"{self.folder} says that slot {name[:8]!r} is in use, and no identity is in it.",
                advice="The device needs a fresh token: labkit provision token NAME",
                path=self.folder,
            )
        return slot

    @property
    def spare(self) -> Slot:
        """The slot that is not in use."""
        current = self.current
        return self._slot("a" if current is None or current.name == "b" else "b")

    @property
    def staged(self) -> bool:
        """Whether the key for the next identity has been made and stored."""
        slot = self.spare
        return self._next() == slot.name and slot.key.exists()

    def stage(self) -> Key:
        """Return the key for the next identity, made and stored where there is none yet.

        It is stored before anybody is asked for a certificate. When the reply is lost, or the power, the same key asks
        again and gets the same certificate.
        """
        slot = self.spare
        if self._next() == slot.name and slot.key.exists() and not slot.chain.exists():
            return Key.load(slot.key.read_bytes(), path=slot.key)
        self.discard_spare()
        key = Key.generate()
        self._put(slot.key.name, key.pem(), secret=True)
        self._put("next", slot.name)
        return key

    def install(self, chain: str) -> Slot:
        """Store the chain for the staged key, and return the slot; it is not in use yet.

        Raises:
            SlotsError: The certificate is not for the staged key.
        """
        slot = self.spare
        certificate = x509.load_pem_x509_certificate(chain.encode())
        key = Key.load(slot.key.read_bytes(), path=slot.key)
        if fingerprint(check_policy(certificate.public_key())) != key.fingerprint:
            raise SlotsError(
                "The service sent a certificate for another key than the one that was asked for.",
                advice="Don't use it. Ask again; if it happens again, tell an operator.",
                path=slot.chain,
            )
        self._put(slot.chain.name, chain)
        return slot

    @property
    def installed(self) -> Slot | None:
        """The slot with a newer identity than the one in use, if a renewal got that far."""
        spare = self.spare
        return spare if self._next() == spare.name and self.complete(spare) else None

    def switch(self) -> Slot:
        """Use the other slot from now on, and return it.

        Raises:
            SlotsError: No identity is in it.
        """
        slot = self.spare
        if not self.complete(slot):
            raise SlotsError(f"Slot {slot.name} holds no identity.", advice="Renew first.", path=self.folder)
        self._put("in-use", slot.name)
        self._drop("next")
        return slot

    def discard_spare(self) -> None:
        """Erase what is in the slot that is not in use."""
        slot = self.spare
        for name in ("next", slot.chain.name, slot.key.name):
            self._drop(name)

    @staticmethod
    def complete(slot: Slot) -> bool:
        """Return whether a slot holds a certificate and the key that belongs to it."""
        try:
            key = Key.load(slot.key.read_bytes(), path=slot.key)
            return fingerprint(check_policy(slot.certificate.public_key())) == key.fingerprint
        except (OSError, ValueError, LabError):
            return False

    def _next(self) -> str:
        # Which slot is being filled. Without it, an old identity that a crash left behind would look like a new one.
        # After a switch that was cut off it names the slot that is in use by now, and nothing is being filled.
        try:
            return self._path("next").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def _slot(self, name: str) -> Slot:
        return Slot(name, self._path(f"{name}.key"), self._path(f"{name}.crt"))

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _put(self, name: str, value: str | bytes, *, secret: bool = False) -> None:
        """Store a value, whole or not at all. Another medium than a folder begins here, and at `_drop`."""
        write_atomic(self._path(name), value, secret=secret)

    def _drop(self, name: str) -> None:
        """Erase a value; nothing happens where there is none."""
        path = self._path(name)
        if name.endswith(".key") and path.exists():
            # Overwritten first: a courtesy on a file system, the right order on flash.
            path.write_bytes(os.urandom(path.stat().st_size))
        path.unlink(missing_ok=True)
