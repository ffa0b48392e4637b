"""Images, updates and dumps of flash for a plant: sound ones, and ones with one thing wrong."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from labkit.audit import BoardFiles
from labkit.board.chips import find_chip
from labkit.board.efuse import Efuses
from labkit.devices import new_token
from labkit.firmware import NvsEntry, build_image, partitions
from labkit.firmware.description import AppDescription, build_app
from labkit.firmware.flash_encryption import FlashKey
from labkit.firmware.image import build_image as build_app_image
from labkit.firmware.otadata import ABORTED, SECTOR, VALID, build_entry
from labkit.firmware.secure_boot import parse_block, signed_length
from labkit.firmware.tools import encrypt_nvs, sign_image
from labkit.pki import Key
from labkit.provisioning.factory import nvs_values
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles, Store

CHIP = "esp32c3"
FLASH = 0x400000
NEWEST, OLD = "1.4.0", "1.1.0"
PROJECT = "sensor-node"
_DROM, _IRAM = 0x3C000020, 0x40380000
FCTRY = 0x6000


def app(version: str, *, filler: bytes = b"") -> bytes:
    """Return an application image; it holds no machine code that runs."""
    segments = [
        (_DROM, build_app(AppDescription(PROJECT, version)) + filler + bytes(-len(filler) % 4)),
        (_IRAM, bytes(64)),
    ]
    return build_app_image(segments, chip_id=find_chip(CHIP).chip_id, entry=_IRAM)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of this process that updates are signed with, and the digest that is burnt for it."""

    pem: bytes
    digest: bytes

    def __repr__(self) -> str:
        return f"<SigningKey {self.digest.hex()[:12]}>"


def _sign(data: bytes, pem: bytes) -> bytes:
    with TemporaryDirectory(prefix="labkit-key-") as folder:
        path = write_atomic(Path(folder, "key.pem"), pem, secret=True)
        return sign_image(data, path)


PLANT, STRANGER = "plant", "stranger"


@cache
def signing_key(label: str) -> SigningKey:
    """Return a fresh RSA-3072 key, the same one for each label for as long as this process lives."""
    key = rsa.generate_private_key(65537, 3072)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    block = parse_block(_signed(label, pem, NEWEST)[signed_length(len(app(NEWEST))) :])
    if block is None:
        text = "espsecure made no signature block"
        raise RuntimeError(text)
    return SigningKey(pem, block.key_digest)


@cache
def _signed(label: str, pem: bytes, version: str) -> bytes:
    del label
    return _sign(app(version), pem)


def signed_app(version: str, label: str = PLANT) -> bytes:
    """Return an application with a signature sector that espsecure made."""
    return _signed(label, signing_key(label).pem, version)


# --- what is on the shelf -------------------------------------------------------------------------------------------


def write_updates(folder: Path, *, unsigned: bool = False, stranger: bool = False) -> Path:
    """Write the published updates, and the digest of the key that counts.

    Args:
        folder: Where to.
        unsigned: Publish one that nobody has signed.
        stranger: Publish one that somebody else has signed.

    Returns:
        The file with the digest.
    """
    make_folder(folder)
    for old in folder.glob("*.bin"):
        old.unlink()
    (folder / f"{PROJECT}-{NEWEST}.bin").write_bytes(signed_app(NEWEST))
    if unsigned:
        (folder / f"{PROJECT}-1.3.9-hotfix.bin").write_bytes(app("1.3.9"))
    if stranger:
        (folder / f"{PROJECT}-1.3.8.bin").write_bytes(signed_app("1.3.8", STRANGER))
    path = folder / "trusted-key.digest"
    path.write_bytes(signing_key(PLANT).digest)
    return path


def write_images(folder: Path, store: Store, *, faults: frozenset[str]) -> tuple[Path, ...]:
    """Write the application that is built into every device, and two NVS images of the factory.

    Args:
        folder: Where to.
        store: The devices' authority.
        faults: Which of `key-in-image`, `password-in-image`, `twin-name`, `shared-key`, `shared-token` and `no-root`.
    """
    make_folder(folder, private=True)
    filler = b""
    if "key-in-image" in faults:
        filler += b"\0" + Key.generate().pem() + b"\0"
    if "password-in-image" in faults:
        filler += b"\0mqtt://plant:hunter2hunter2@broker.local:1883\0"
    paths = [write_atomic(folder / "application.bin", app(NEWEST, filler=filler))]
    key = Key.generate()
    token = new_token()
    for number, name in enumerate(("node-101", "node-102")):
        called = "node-101" if "twin-name" in faults else name
        own = key if "shared-key" in faults or number == 0 else Key.generate()
        values = _values(store, called, own, root="no-root" not in faults)
        if "shared-token" in faults:
            values.append(NvsEntry("identity", "token", "string", token))
        paths.append(write_atomic(folder / f"{name}-nvs.bin", build_image(values), secret=True))
    return tuple(paths)


def _values(store: Store, name: str, key: Key, *, root: bool = True) -> list[NvsEntry]:
    from labkit.pki import make_request, read_request
    from labkit.pki.ledger import MemoryLedger

    # What the factory has made and nobody has switched on yet; a ledger of its own, so that the lab's stays as it was.
    authority = store.authority().recording(MemoryLedger())
    issued = authority.issue_device(name, request=read_request(make_request(key, name)), renew=True)
    chain = issued.chain_pem.decode()
    values = nvs_values(name, chain, key.pem().decode(), store.trust_anchor.read_text())
    return values if root else values[:-1]


# --- boards -----------------------------------------------------------------------------------------------------------


def write_board(
    folder: Path, name: str, identity: IdentityFiles, store: Store, *, faults: frozenset[str]
) -> BoardFiles:
    """Write the dump and the eFuses of a board in service.

    Args:
        folder: Where to.
        name: What the board is called.
        identity: The identity in it.
        store: The devices' authority.
        faults: Which of `no-secure-boot`, `stranger-app`, `plain-flash`, `old-firmware`, `open-jtag`, `open-download`.
    """
    make_folder(folder, private=True)
    plain = bool(faults & {"plain-flash", "old-firmware", "stranger-app"})
    version = OLD if "old-firmware" in faults else NEWEST
    key = secrets.token_bytes(32)
    efuses = _efuses(faults, None if plain else key)
    image = signed_app(version, STRANGER if "stranger-app" in faults else PLANT)
    values = nvs_values(
        identity.name,
        identity.certificate.read_text() + store.intermediate.read_text(),
        identity.key.read_text(),
        store.trust_anchor.read_text(),
    )
    parts = {
        "otadata": _otadata((1, VALID)),
        "ota_0": image,
        "fctry": build_image(values, size=FCTRY)
        if plain
        else encrypt_nvs(values, secrets.token_bytes(64), size=FCTRY),
    }
    flash = _flash(parts, None if plain else key)
    dump = write_atomic(folder / f"{name}-flash.bin", flash, secret=True)
    fuses = write_atomic(folder / f"{name}-efuse.bin", efuses.to_bytes(), secret=True)
    return BoardFiles(name, dump, fuses)


def write_test_board(folder: Path, *, drilled: bool) -> BoardFiles:
    """Write the dump of a board on the bench, with or without the traces of a rollback."""
    entries = ((1, VALID), (2, ABORTED)) if drilled else ((1, VALID),)
    flash = _flash({"otadata": _otadata(*entries), "ota_0": app(NEWEST)}, None)
    path = write_atomic(make_folder(folder, private=True) / "bench-flash.bin", flash)
    return BoardFiles("bench", path)


def _efuses(faults: frozenset[str], flash_key: bytes | None) -> Efuses:
    efuses = Efuses.fresh(find_chip(CHIP), mac=bytes.fromhex("a0b765") + secrets.token_bytes(3))
    values: dict[str, int | bytes] = {}
    if "no-secure-boot" not in faults:
        values |= {"SECURE_BOOT_EN": 1, "KEY_PURPOSE_0": 9, "BLOCK_KEY0": signing_key(PLANT).digest}
    if flash_key is not None:
        values |= {"SPI_BOOT_CRYPT_CNT": 7, "KEY_PURPOSE_1": 4, "BLOCK_KEY1": flash_key[::-1]}
    if "open-jtag" not in faults:
        values |= {"DIS_PAD_JTAG": 1, "DIS_USB_JTAG": 1}
    if "open-download" not in faults:
        values["ENABLE_SECURITY_DOWNLOAD"] = 1
    efuses.burn(values)
    return efuses


def _otadata(*entries: tuple[int, int]) -> bytes:
    sectors = [build_entry(sequence, state).ljust(SECTOR, b"\xff") for sequence, state in entries]
    return b"".join(sectors).ljust(2 * SECTOR, b"\xff")


def _flash(parts: dict[str, bytes], key: bytes | None) -> bytes:
    flash = bytearray(b"\xff" * FLASH)
    cipher = FlashKey(key, xts=True) if key else None

    def put(offset: int, data: bytes, *, encrypted: bool) -> None:
        padded = data + b"\xff" * (-len(data) % 16)
        flash[offset : offset + len(padded)] = (
            cipher.encrypt(offset, padded) if cipher and encrypted else padded
        )

    put(partitions.OFFSET, partitions.build_table(partitions.COURSE_TABLE), encrypted=True)
    for label, data in parts.items():
        part = partitions.COURSE_TABLE.find(label)
        if part is None:
            text = f"the course's table has no {label}"
            raise ValueError(text)
        put(part.offset, data, encrypted=part.encrypted)
    return bytes(flash)
