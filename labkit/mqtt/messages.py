"""TLS handshake messages: names, and what stands in them (RFC 8446 §4, RFC 5246 §7.4).

A message is read with a `Reader`, which knows how much is left and raises `FormatError` before it reads past the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit.errors import FormatError
from labkit.mqtt.suites import GROUPS, SCHEMES, VERSIONS, named, suite_name

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {
    0: "HelloRequest",
    1: "ClientHello",
    2: "ServerHello",
    4: "NewSessionTicket",
    5: "EndOfEarlyData",
    8: "EncryptedExtensions",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    20: "Finished",
    22: "CertificateStatus",
    24: "KeyUpdate",
    254: "MessageHash",
}

LONGEST = 2**17
"""The longest message that is looked at; a chain of ten RSA-4096 certificates has a tenth of it."""

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3)."""

_SNI, _GROUPS, _ALGORITHMS, _PSK, _VERSIONS, _AUTHORITIES, _SHARE = 0, 10, 13, 41, 43, 47, 51
_MASTER_SECRET = 23


class Reader:
    """Bytes that are read from the front.

    Args:
        data: The bytes.
        what: What they are, for the error.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._what, self._at = data, what, 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            FormatError: There are not that many.
        """
        if count > self.left:
            raise FormatError(
                f"{self._what} ends after {len(self._data)} bytes, and {count - self.left} more should be there.",
                advice="The recording is damaged, or somebody sends nonsense.",
                what=self._what,
                offset=self._at,
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        """Return the next bytes as a number, the highest byte first."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Return a vector: its length in so many bytes, then itself (RFC 8446 §3.4)."""
        return self.take(self.number(width))

    def inner(self, width: int) -> Reader:
        """Return a reader for a vector."""
        return Reader(self.vector(width), self._what)

    def numbers(self, width: int) -> list[int]:
        """Return everything that is left as numbers of one width."""
        return [self.number(width) for _ in range(self.left // width)]


def split_message(data: bytes) -> tuple[tuple[int, bytes] | None, bytes]:
    """Return the first message as type and body, and what follows it; None if it is not complete.

    Raises:
        FormatError: Its length is beyond reason.
    """
    if len(data) < 4:
        return None, data
    length = int.from_bytes(data[1:4], "big")
    if length > LONGEST:
        raise FormatError(
            f"A handshake message claims to have {length} bytes.",
            advice="The recording is damaged, or somebody sends nonsense.",
            what="handshake message",
            offset=1,
        )
    if len(data) - 4 < length:
        return None, data
    return (data[0], data[4 : 4 + length]), data[4 + length :]


def read_message(kind: int, body: bytes, version: str) -> tuple[str, dict[str, Any]]:
    """Return a message's name, and what stands in it.

    Args:
        kind: Its type.
        body: The message without its header.
        version: `1.2` or `1.3`, which write some messages differently; as far as it is known.

    Raises:
        FormatError: It does not follow its format.
    """
    name = NAMES.get(kind, f"message {kind}")
    reader = Reader(body, name)
    readers: dict[str, Callable[[Reader, str], dict[str, Any]]] = {
        "ClientHello": _client_hello,
        "ServerHello": _server_hello,
        "Certificate": _certificates,
        "CertificateRequest": _certificate_request,
        "CertificateVerify": _certificate_verify,
        "ServerKeyExchange": _server_key_exchange,
        "NewSessionTicket": _ticket,
    }
    detail = readers[name](reader, version) if name in readers else {}
    if name == "ServerHello" and detail["random"] == RETRY.hex():
        name = "HelloRetryRequest"
    return name, detail


def _client_hello(reader: Reader, _version: str) -> dict[str, Any]:
    legacy, random = reader.number(2), reader.take(32)
    session, suites = reader.vector(1), reader.inner(2).numbers(2)
    reader.vector(1)  # compression methods: only none is left
    found = _extensions(reader)
    versions = (
        Reader(found[_VERSIONS], "supported_versions").inner(1).numbers(2) if _VERSIONS in found else [legacy]
    )
    return {
        "versions": tuple(named(VERSIONS, each) for each in versions),
        "suites": tuple(suite_name(each) for each in suites),
        "groups": _list(found, _GROUPS, GROUPS),
        "signature_schemes": _list(found, _ALGORITHMS, SCHEMES),
        "server_name": _server_name(found),
        "key_shares": _shares(found),
        "session_id": len(session),
        "resumes": _PSK in found or (len(session) > 0 and _VERSIONS not in found),
        "random": random.hex(),
        "session": session.hex(),
    }


def _server_hello(reader: Reader, _version: str) -> dict[str, Any]:
    legacy, random = reader.number(2), reader.take(32)
    session, suite = reader.vector(1), reader.number(2)
    reader.number(1)  # compression
    found = _extensions(reader)
    version = Reader(found[_VERSIONS], "supported_versions").number(2) if _VERSIONS in found else legacy
    share = Reader(found[_SHARE], "key_share").number(2) if len(found.get(_SHARE, b"")) >= 2 else None
    return {
        "version": named(VERSIONS, version),
        "suite": suite_name(suite),
        "suite_code": suite,
        "group": named(GROUPS, share) if share is not None else "",
        "psk": _PSK in found,
        "extended_master_secret": _MASTER_SECRET in found,
        "random": random.hex(),
        "session": session.hex(),
    }


def _certificates(reader: Reader, version: str) -> dict[str, Any]:
    if version == "1.3":
        reader.vector(1)  # certificate_request_context
    entries, found = reader.inner(3), []
    while entries.left:
        found.append(entries.vector(3))
        if version == "1.3":
            entries.vector(2)  # extensions of the entry
    return {
        "count": len(found),
        "subjects": tuple(_subject(der) for der in found),
        "sizes": tuple(len(der) for der in found),
    }


def _certificate_request(reader: Reader, version: str) -> dict[str, Any]:
    if version == "1.3":
        reader.vector(1)
        found = _extensions(reader)
        names = (
            Reader(found[_AUTHORITIES], "certificate_authorities").inner(2) if _AUTHORITIES in found else None
        )
        return {"signature_schemes": _list(found, _ALGORITHMS, SCHEMES), "authorities": _names(names)}
    reader.vector(1)  # certificate types
    schemes = reader.inner(2).numbers(2)
    return {
        "signature_schemes": tuple(named(SCHEMES, each) for each in schemes),
        "authorities": _names(reader.inner(2)),
    }


def _certificate_verify(reader: Reader, _version: str) -> dict[str, Any]:
    return {"scheme": named(SCHEMES, reader.number(2)), "signature": len(reader.vector(2))}


def _server_key_exchange(reader: Reader, _version: str) -> dict[str, Any]:
    # ECDHE only (RFC 8422 §5.4): named_curve is 3. What DHE sends is left unread.
    if reader.number(1) != 3:
        return {"group": "a prime"}
    group, point = reader.number(2), reader.vector(1)
    return {"group": named(GROUPS, group), "public": len(point), "scheme": named(SCHEMES, reader.number(2))}


def _ticket(reader: Reader, version: str) -> dict[str, Any]:
    lifetime = reader.number(4)
    if version == "1.3":
        reader.number(4)  # ticket_age_add
        reader.vector(1)  # nonce
    return {"lifetime": lifetime, "ticket": len(reader.vector(2))}


def _extensions(reader: Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if not reader.left:
        return found  # TLS 1.2 may leave the list out
    inside = reader.inner(2)
    while inside.left:
        kind = inside.number(2)
        found[kind] = inside.vector(2)
    return found


def _list(found: dict[int, bytes], kind: int, table: dict[int, str]) -> tuple[str, ...]:
    if kind not in found:
        return ()
    return tuple(named(table, each) for each in Reader(found[kind], f"extension {kind}").inner(2).numbers(2))


def _server_name(found: dict[int, bytes]) -> str:
    if not found.get(_SNI):
        return ""
    names = Reader(found[_SNI], "server_name").inner(2)
    names.number(1)
    return names.vector(2).decode("ascii", "replace")


def _shares(found: dict[int, bytes]) -> tuple[str, ...]:
    if _SHARE not in found:
        return ()
    entries, shares = Reader(found[_SHARE], "key_share").inner(2), []
    while entries.left:
        shares.append(named(GROUPS, entries.number(2)))
        entries.vector(2)
    return tuple(shares)


def _names(reader: Reader | None) -> tuple[str, ...]:
    found = []
    while reader is not None and reader.left:
        found.append(_distinguished(reader.vector(2)))
    return tuple(found)


def _distinguished(der: bytes) -> str:
    # The names are DER, and the course shows only what is readable in them: the text of each attribute.
    texts: list[str] = []
    reader = Reader(der, "distinguished name")
    try:
        _walk(reader, texts, 0)
    except FormatError:
        return f"{len(der)} bytes"
    return ", ".join(texts)


def _walk(reader: Reader, texts: list[str], depth: int) -> None:
    while reader.left:
        tag, length = reader.number(1), reader.number(1)
        if length & 0x80:
            length = reader.number(length & 0x7F)
        inside = reader.take(length)
        if tag & 0x20 and depth < 8:
            _walk(Reader(inside, "distinguished name"), texts, depth + 1)
        elif tag in {0x0C, 0x13, 0x16}:  # UTF8String, PrintableString, IA5String
            texts.append(inside.decode("utf-8", "replace"))


def _subject(der: bytes) -> str:
    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:
        return "unreadable"
