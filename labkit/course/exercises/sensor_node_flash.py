"""What a student wrote for a board, taken apart: nothing in it runs here, and every byte of it may be an enemy's."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.board.nor_flash import SIZE
from labkit.course.evidence import key_in
from labkit.course.lesson import RejectedError
from labkit.errors import FormatError
from labkit.firmware import NvsEntry, read_image
from labkit.firmware.partitions import DATA, LENGTH, NVS, OFFSET, Partition, parse_table
from labkit.node import layout
from labkit.scenarios.board_readout import pem_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PEM = (layout.ROOT, *layout.SLOTS["a"])
"""The values of an identity that are PEM: whom the device believes, its key, its chain."""

MOST_CERTIFICATES = 6

_SPACE = re.compile(rb"\\[nrt]|[\s\"']+")
"""What stands between the lines of a PEM file in a string of C, in a script or in a file."""


@dataclass(frozen=True)
class Flash:
    """A flash image, and what the device of it finds in its own partition.

    Attributes:
        data: The image, filled up to the end of the partition.
        part: The device's own partition.
        values: What is in it, by namespace and key.
    """

    data: bytes
    part: Partition
    values: Mapping[tuple[str, str], NvsEntry]

    @property
    def rest(self) -> bytes:
        """Everything but the device's own partition."""
        return self.data[: self.part.offset] + self.data[self.part.end :]


@dataclass(frozen=True)
class Identity:
    """An identity that holds together: the key is the certificate's, and the names are right.

    Attributes:
        chain: The device's certificate and those that it sends along.
        key: Its private key.
        root: Whom it believes.
    """

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    root: x509.Certificate

    @property
    def leaf(self) -> x509.Certificate:
        """The device's certificate."""
        return self.chain[0]


def read_flash(data: bytes) -> Flash:
    """Take a flash image apart.

    Raises:
        RejectedError: `no-table`, `no-partition`, `identity-elsewhere`, `identity-missing`, `identity-unreadable`.
    """
    try:
        table = parse_table(data[OFFSET : OFFSET + LENGTH], flash_size=SIZE)
    except FormatError as error:
        raise RejectedError(
            "no-table",
            f"the partition table can't be read: {error.message}",
            expected=f"a partition table at {OFFSET:#x}",
            advice="Which file belongs there, and which offset did your plan give it?",
        ) from error
    part = table.find(layout.PARTITION)
    if part is None:
        raise RejectedError(
            "no-partition",
            f"the table has no partition {layout.PARTITION}",
            expected="an identity in a partition of its own",
            advice="bench.make_firmware() writes the course's table.",
        )
    filled = data.ljust(part.end, b"\xff")
    values = values_of(filled[part.offset : part.end])
    if not values:
        others = [one for one in table if one.type == DATA and one.subtype == NVS and one != part]
        raise _missing(filled, others)
    return Flash(filled, part, values)


def _missing(data: bytes, others: list[Partition]) -> RejectedError:
    for part in others:
        try:
            held = read_image(data[part.offset : part.end].ljust(part.size, b"\xff"))
        except FormatError:
            continue
        if any(entry.namespace == layout.IDENTITY for entry in held):
            return RejectedError(
                "identity-elsewhere",
                f"the identity lies in the partition {part.label}",
                expected=f"in {layout.PARTITION}; {part.label} is the firmware's, and may be erased at any time",
                advice="COURSE_TABLE says where each partition begins.",
            )
    return RejectedError(
        "identity-missing",
        f"{layout.PARTITION} is empty",
        expected="who the device is, whom it believes, and its key",
        advice="Which file holds the identity, and where did your plan put it?",
    )


def values_of(data: bytes) -> dict[tuple[str, str], NvsEntry]:
    """Return what an NVS partition holds.

    Raises:
        RejectedError: `identity-unreadable`.
    """
    try:
        return {(entry.namespace, entry.key): entry for entry in read_image(data)}
    except FormatError as error:
        raise RejectedError(
            "identity-unreadable",
            f"it is no NVS partition: {error.message}",
            expected="what Espressif's generator makes of a table of values, in plain",
            advice="Make it with bench.make_partition(values), and merge again.",
        ) from error


def read_identity(values: Mapping[tuple[str, str], NvsEntry], device: str) -> Identity:
    """Return the identity in a device's partition, if it holds together.

    Args:
        values: What the partition holds.
        device: Who the device is to be.

    Raises:
        RejectedError: See `FAULTS` of the tests: one word a mistake.

    Does not check: dates, and whether the chain leads anywhere; a broker does that.
    """
    said = _text(values, layout.DEVICE_ID)
    if said != device:
        raise RejectedError(
            "wrong-device",
            f"device_id is {said[:70]!r}",
            expected=f"device_id is {device!r}, the id that you were given",
            advice="mine.device is your device's id.",
        )
    key_name, chain_name = layout.SLOTS["a"]
    chain = _certificates(chain_name, _text(values, chain_name))
    root = _root(_certificates(layout.ROOT, _text(values, layout.ROOT)))
    key = _key(_text(values, key_name))
    _verify_leaf(chain[0], key, device)
    if any(one.public_key() == key.public_key() for one in (root, *chain) if _is_authority(one)):
        raise RejectedError(
            "other-key",
            "identity/key is the key of an authority",
            expected="a key of the device's own",
            advice="Whoever reads this flash can sign for any device. Which key stays at home?",
        )
    _verify_no_other_key(values, key_name)
    return Identity(tuple(chain), key, root)


def _text(values: Mapping[tuple[str, str], NvsEntry], name: str) -> str:
    entry = values.get((layout.IDENTITY, name))
    if entry is None:
        there = ", ".join(sorted(f"{space}/{key}" for space, key in values)) or "nothing"
        raise RejectedError(
            "value-missing",
            f"the partition has no identity/{name}; it has {there}"[:300],
            expected="identity/device_id, /root, /chain and /key",
            advice="Compare your table with the list above the exercise, letter by letter.",
        )
    if not isinstance(entry.value, str) or entry.kind != "string":
        raise RejectedError(
            "value-kind",
            f"identity/{name} is a {entry.kind}",
            expected="the node reads it as a string",
            advice='NvsEntry("identity", name, "string", text) is one.',
        )
    return entry.value


def _certificates(name: str, text: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for certificate in found:
            _ = certificate.extensions, certificate.subject, certificate.public_key()
    except (ValueError, x509.DuplicateExtension, TypeError) as error:
        raise RejectedError(
            "certificate-unreadable",
            f"identity/{name} holds no certificate that can be read",
            expected="PEM, as the authority writes it",
            advice="A path is no certificate: identity.certificate.read_text() is what the file holds.",
        ) from error
    if len(found) > MOST_CERTIFICATES:
        raise RejectedError(
            "certificate-unreadable",
            f"identity/{name} holds {len(found)} certificates",
            expected="a chain of a few",
            advice="The device sends its certificate, and those between it and the root.",
        )
    return found


def _root(found: list[x509.Certificate]) -> x509.Certificate:
    root = found[0]
    if len(found) != 1 or root.issuer != root.subject or not _is_authority(root):
        raise RejectedError(
            "root-wrong",
            f"identity/root holds {len(found)} certificate(s), the first one {root.subject.rfc4514_string()!r}"[
                :200
            ],
            expected="the root's certificate alone: an authority that signed itself",
            advice="site.trust is the file with your root.",
        )
    return root


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _key(text: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except TypeError as error:
        raise RejectedError(
            "key-locked",
            "identity/key is encrypted with a passphrase",
            expected="a key that the device can use",
            advice="Nobody stands beside a sensor to type a passphrase. What protects a key in flash is the flash's own encryption.",
        ) from error
    except Exception as error:  # cryptography has several kinds of no, and all mean the same here
        raise RejectedError(
            "key-unreadable",
            "identity/key holds no private key that can be read",
            expected="the device's private key, PEM",
            advice="identity.key is the file.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise RejectedError(
            "key-unreadable",
            f"identity/key is a {type(key).__name__}",
            expected="a key on P-256, or RSA",
            advice="identity.key is the file.",
        )
    return key


def _verify_leaf(leaf: x509.Certificate, key: Any, device: str) -> None:
    names = [one.value for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if names != [device]:
        raise RejectedError(
            "wrong-name",
            f"the first certificate of identity/chain is for {', '.join(map(str, names))[:70] or 'nobody'}",
            expected=f"the device's own, with the one common name {device}",
            advice="The broker takes the name from the certificate; the leaf comes first.",
        )
    if leaf.public_key() != key.public_key():
        raise RejectedError(
            "key-mismatch",
            "identity/key does not belong to the certificate",
            expected="one pair",
            advice="Was one of them made a second time, and the other one not?",
        )
    try:
        purposes = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = []
    too_many = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes or too_many & set(purposes) or _is_authority(leaf):
        raise RejectedError(
            "wrong-purpose",
            "the device's certificate is not for a client alone",
            expected="extended key usage clientAuth, no other, and no authority",
            advice="Without a purpose, or with both, it would do for a server too: the device could play broker.",
        )


def _verify_no_other_key(values: Mapping[tuple[str, str], NvsEntry], own: str) -> None:
    for (space, name), entry in values.items():
        content = entry.value.encode() if isinstance(entry.value, str) else entry.value
        if not isinstance(content, bytes):
            continue
        blocks = pem_in(content).get("key", "").count("-----BEGIN")
        its_own = (space, name) == (layout.IDENTITY, own)
        if blocks > 1 or (not its_own and (blocks or key_in(content))):
            raise RejectedError(
                "other-key",
                f"{space}/{name} holds a private key that the device does not need",
                expected="its own, once, and nobody else's",
                advice="Whoever reads this flash has every key in it. Whose may they have?",
            )


def verify_no_secret(flash: Flash, identity: Identity) -> None:
    """Verify that what all devices share holds nothing of this one: no key in any common form, no certificate of its.

    Raises:
        RejectedError: `key-in-image`, `certificate-in-image`.

    Does not check: disguises. Who hides a key well enough has not made a mistake.
    """
    rest = flash.rest
    dense = _SPACE.sub(b"", rest)
    if (
        "key" in pem_in(rest)
        or key_in(rest)
        or any(form in rest or form in dense for form in _forms(identity.key))
    ):
        raise RejectedError(
            "key-in-image",
            f"a private key lies outside of {layout.PARTITION}, with what all devices share",
            expected="a key in the device's own partition, and nowhere else",
            advice="An image goes to the update server, the archive and the manufacturer. Build it without `embedded`.",
        )
    body = base64.b64encode(identity.leaf.public_bytes(serialization.Encoding.DER))
    if identity.leaf.public_bytes(serialization.Encoding.DER) in rest or body[64:160] in dense:
        raise RejectedError(
            "certificate-in-image",
            f"the device's certificate lies outside of {layout.PARTITION}",
            expected="an image that fits every device",
            advice="With an identity in it each device needs an image of its own, and each update is built once a device.",
        )


def _forms(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Iterator[bytes]:
    """Yield the secret number of a key as it may stand in an image: raw both ways round, in hex, in base64."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        secret = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)
    else:
        secret = key.private_numbers().p.to_bytes(key.key_size // 16)
    yield from (secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode())
    yield b",".join(b"0x%02x" % byte for byte in secret)
    yield b",".join(b"0x%02X" % byte for byte in secret)
    yield from (b"".join(b"\\x%02x" % byte for byte in secret), b":".join(b"%02x" % byte for byte in secret))
    yield b",".join(b"%d" % byte for byte in secret)
    for shift in range(3):  # wherever it begins in a DER structure
        coded = base64.b64encode(bytes(shift) + secret)
        yield coded[4:-4]
