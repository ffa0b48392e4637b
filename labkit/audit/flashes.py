"""Look into firmware images and dumps of flash as whoever holds them would, and at the eFuses beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from labkit.audit.facts import BoardFacts, FlashFacts, Secret, UpdateFacts
from labkit.audit.flash_scan import certificates_in, secrets_in
from labkit.audit.fleet import certificate_fact
from labkit.board.efuse import Efuses
from labkit.errors import FormatError, SignatureRefusedError, UpdateRefusedError
from labkit.firmware import partitions, update
from labkit.firmware.image import MAGIC, Image, parse_image
from labkit.firmware.nvs_reader import read_image
from labkit.firmware.otadata import parse_otadata
from labkit.firmware.secure_boot import SECTOR, TrustedKey, verify_signatures
from labkit.firmware.update import TrustedKeys, parse_header
from labkit.pki.lint import load
from labkit.updates.depot import verify_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from labkit.audit.target import BoardFiles
    from labkit.firmware.partitions import Partition, PartitionTable

UPDATES = {".bin", ".upd"}
UNREADABLE = "unreadable"
SMALLEST_FLASH = 0x100000
"""Whatever is shorter is an image or a partition, and no dump."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a dump."""

    label: str
    inside: str
    offset: int
    data: bytes


def look_into(data: bytes, name: str, *, trust: bytes | None = None) -> FlashFacts:
    """Look into an image, a partition, or a whole dump.

    Args:
        data: The bytes.
        name: What to call them.
        trust: The root that devices should verify the broker with, in PEM.
    """
    parts = list(_parts(data))
    secrets = [
        secret
        for part in parts
        for secret in secrets_in(
            part.data, f"{name}, {part.label}" if part.label else name, start=part.offset, inside=part.inside
        )
    ]
    certificates = list(dict.fromkeys(pem for part in parts for pem in certificates_in(part.data)))
    names, anchors = _who(certificates)
    versions = [image.description.version for image in _images(parts) if image.description]
    return FlashFacts(
        name,
        secrets=tuple(_once(secrets)),
        names=tuple(names),
        anchors=tuple(anchors),
        readable=tuple(_readable(data, parts)),
        verifies_broker=_has(certificates, trust) if names and trust else None,
        version=versions[0] if versions else "",
    )


def _parts(data: bytes) -> Iterator[_Part]:
    if len(data) < SMALLEST_FLASH:
        yield _Part(
            "", "image" if data[:1] == bytes([MAGIC]) else "nvs" if _entries(data) else "flash", 0, data
        )
        return
    table = _table(data) or partitions.COURSE_TABLE
    rest = bytearray(data)
    for part in table:
        piece = data[part.offset : part.end]
        rest[part.offset : part.end] = bytes(len(piece))
        yield _Part(part.label, _inside(part), part.offset, piece)
    yield _Part("outside of all partitions", "flash", 0, bytes(rest))


def _inside(part: Partition) -> str:
    if part.type == partitions.APP:
        return "image"
    return "nvs" if (part.type, part.subtype) == (partitions.DATA, partitions.NVS) else "flash"


def _table(data: bytes) -> PartitionTable | None:
    try:
        return partitions.parse_table(data[partitions.OFFSET : partitions.OFFSET + partitions.LENGTH])
    except FormatError:
        return None


def _entries(data: bytes) -> int:
    try:
        return len(read_image(data))
    except FormatError:
        return 0


def _images(parts: Sequence[_Part]) -> list[Image]:
    found = []
    for part in parts:
        if part.inside == "image":
            try:
                found.append(parse_image(part.data))
            except FormatError:
                continue
    return found


def _who(certificates: Sequence[bytes]) -> tuple[list[str], list[str]]:
    names, anchors = [], []
    for pem in certificates:
        fact = certificate_fact(pem, "")
        if fact is not None and fact.role == "device":
            names.append(fact.name)
        elif fact is None and (authority := load(pem)) is not None:
            anchors.append(authority.subject.rfc4514_string())
    return list(dict.fromkeys(names)), anchors


def _has(certificates: Sequence[bytes], trust: bytes) -> bool:
    root = load(trust)
    if root is None:
        return False
    wanted = root.public_bytes(Encoding.DER)
    found = (load(pem) for pem in certificates)
    return any(each.public_bytes(Encoding.DER) == wanted for each in found if each is not None)


def _once(secrets: Sequence[Secret]) -> Iterator[Secret]:
    seen: set[tuple[str, str]] = set()
    for secret in secrets:
        if (secret.place, secret.digest) not in seen:
            seen.add((secret.place, secret.digest))
            yield secret


def _readable(data: bytes, parts: Sequence[_Part]) -> Iterator[str]:
    if len(data) < SMALLEST_FLASH:
        return
    if _table(data) is not None:
        yield "the partition table"
    for part in parts:
        if part.inside == "image":
            try:
                parse_image(part.data, verify=False)
            except FormatError:
                continue
            yield f"the application in {part.label}"
        elif part.inside == "nvs" and (number := _entries(part.data)):
            yield f"{number} values in {part.label}"
        elif part.label == "otadata" and any(entry.intact for entry in parse_otadata(part.data)):
            yield part.label


# --- boards ---------------------------------------------------------------------------------------------------------


def look_at(board: BoardFiles, *, trust: bytes | None = None) -> BoardFacts:
    """Look at what was read from a board; what can't be read is told as a problem."""
    try:
        data = board.flash.read_bytes()
    except OSError as error:
        return BoardFacts(
            board.name, FlashFacts(board.name), problem=f"its dump can't be read: {error.strerror}"
        )
    flash = look_into(data, board.name, trust=trust)
    slots = _slots(data)
    if board.efuses is None:
        return BoardFacts(board.name, flash, problem="its eFuses were not read", slots=slots)
    try:
        efuses = Efuses.from_bytes(board.efuses.read_bytes())
    except (OSError, FormatError) as error:
        return BoardFacts(board.name, flash, problem=f"its eFuses can't be read: {error}", slots=slots)
    return BoardFacts(
        board.name,
        flash,
        secure_boot=efuses.secure_boot_enabled,
        signature=_signed_for(data, efuses),
        flash_encryption=efuses.flash_encryption_enabled,
        jtag=not efuses.jtag_disabled,
        download=efuses.download,
        slots=slots,
    )


def _slots(data: bytes) -> tuple[tuple[int, str], ...]:
    table = _table(data)
    part = table.of_kind(partitions.DATA, partitions.OTADATA) if table else None
    if part is None:
        return ()
    try:
        entries = parse_otadata(data[part.offset : part.end])
    except FormatError:
        return ()
    slots = max(1, len(table.ota_slots)) if table else 1
    return tuple((entry.slot(slots), entry.state_name) for entry in entries if entry.intact)


def _signed_for(data: bytes, efuses: Efuses) -> str:
    """Return `verified`, `unreadable` for an application that only the chip can read, or what is wrong."""
    trusted = [TrustedKey(digest.digest, digest.revoked) for digest in efuses.secure_boot_digests]
    if not any(not key.revoked for key in trusted):
        return "the eFuses name no key that is still trusted"
    parts = [part for part in _parts(data) if part.inside == "image" and part.data[:1] == bytes([MAGIC])]
    if efuses.flash_encryption_enabled:
        # One ciphertext in 256 begins like an image; only a whole one is one.
        parts = [part for part in parts if _images([part])]
        if not parts:
            return UNREADABLE
    if not parts:
        return "there is no application"
    for each in parts:
        verdict = signature_of(each.data, trusted)
        if verdict != "verified":
            return verdict
    return "verified"


def signature_of(data: bytes, trusted: Sequence[TrustedKey]) -> str:
    """Return `verified` if a trusted key signed the image that some bytes begin with; otherwise what is wrong."""
    try:
        length = parse_image(data).length
    except FormatError as error:
        return f"it is no whole image ({error.message})"
    padded = -(-length // SECTOR) * SECTOR
    try:
        verify_signatures(data[:padded], data[padded : padded + SECTOR], trusted)
    except SignatureRefusedError as error:
        return error.rule
    except FormatError as error:
        return error.message
    return "verified"


def look_at_updates(folder: Path, keys: Sequence[Path]) -> list[UpdateFacts]:
    """Verify every update in a folder.

    Args:
        folder: The published updates, `*.bin` and `*.upd`: images with a signature block, or with a signed header.
        keys: The keys that count: digests for signature blocks, public keys in PEM for signed headers.
    """
    digests, headers = _trusted(keys)
    files = [path for path in sorted(folder.iterdir()) if path.suffix in UPDATES] if folder.is_dir() else []
    return [_update(path.name, path.read_bytes(), digests, headers) for path in files]


def _trusted(keys: Sequence[Path]) -> tuple[list[TrustedKey], TrustedKeys]:
    """Sort keys by what they verify: digests are Secure Boot's, PEM is for signed headers."""
    contents = [path.read_bytes() for path in keys]
    publics = [load_pem_public_key(data) for data in contents if data.startswith(b"-----BEGIN")]
    curves = [key for key in publics if isinstance(key, ec.EllipticCurvePublicKey)]
    digests = [TrustedKey(data) for data in contents if not data.startswith(b"-----BEGIN")]
    return digests, TrustedKeys.of(curves)


def _update(name: str, data: bytes, digests: Sequence[TrustedKey], headers: TrustedKeys) -> UpdateFacts:
    if data.startswith(update.MAGIC):
        try:
            header = parse_header(data).header
            version, product = str(header.version), header.product
            verify_release(data, headers)
        except UpdateRefusedError as error:
            known = error.rule not in update.STAGES["header"]
            return UpdateFacts(name, version if known else "0", product if known else "", error.rule)
        return UpdateFacts(name, version, product, "verified")
    try:
        told = parse_image(data).description
    except FormatError as error:
        return UpdateFacts(name, "0", "", f"it is no whole image ({error.message})")
    version, product = (told.version, told.project) if told else ("0", "")
    return UpdateFacts(name, version, product, signature_of(data, digests))
