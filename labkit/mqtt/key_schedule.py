"""From secrets to plaintext: the key log of a client of ours, the key schedules of TLS 1.2 and 1.3, and the opening of records.

Nothing here breaks TLS. The secrets come from one of the two ends (`SSLKEYLOGFILE`'s format), or from a server's stolen
key and a session without forward secrecy.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.mqtt.records import Direction, Record
    from labkit.mqtt.suites import Suite

_HANDSHAKE = {"client": "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "server": "SERVER_HANDSHAKE_TRAFFIC_SECRET"}
_TRAFFIC = {"client": "CLIENT_TRAFFIC_SECRET_0", "server": "SERVER_TRAFFIC_SECRET_0"}
_MASTER = "CLIENT_RANDOM"
_HASHES = {"SHA256": hashes.SHA256, "SHA384": hashes.SHA384}
_KEY_LENGTHS = {"AES_128_GCM": 16, "AES_256_GCM": 32, "CHACHA20_POLY1305": 32}


class Secrets:
    """The secrets of recorded sessions, by the client's random. They are never shown.

    Args:
        found: The secrets by label and client random, both as the key log has them.
    """

    def __init__(self, found: Mapping[tuple[str, str], bytes]) -> None:
        self._found = dict(found)

    def __repr__(self) -> str:
        return f"<Secrets of {len({random for _, random in self._found})} sessions>"

    def __len__(self) -> int:
        return len(self._found)

    @classmethod
    def parse(cls, text: str) -> Secrets:
        """Read a key log: lines of label, client random and secret; anything after `#` is a remark.

        Raises:
            FormatError: A line is none; `offset` is its number, counted from 1. The error does not show the line.
        """
        found: dict[tuple[str, str], bytes] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                label, random, secret = words
                found[label, bytes.fromhex(random).hex()] = bytes.fromhex(secret)
            except ValueError as error:
                raise FormatError(
                    f"Line {number} of the key log is not label, random and secret.",
                    advice="Let the ssl module write it: client_context(…, keylog=PATH)",
                    what="key log",
                    offset=number,
                ) from error
        return cls(found)

    def handshake(self, direction: Direction, random: str) -> bytes | None:
        """Return the secret of one side's handshake records in TLS 1.3, if we have it."""
        return self._found.get((_HANDSHAKE[direction], random))

    def traffic(self, direction: Direction, random: str) -> bytes | None:
        """Return the first secret of one side's application records in TLS 1.3, if we have it."""
        return self._found.get((_TRAFFIC[direction], random))

    def master(self, random: str) -> bytes | None:
        """Return the master secret of a TLS 1.2 session, if we have it."""
        return self._found.get((_MASTER, random))


@dataclass(slots=True)
class Opener:
    """Opens the records of one side, in order.

    Attributes:
        key: The key; never shown.
        iv: What the nonce is made of; never shown.
        suite: The cipher suite.
        old: Whether this is TLS 1.2, whose nonces and additional data are made differently.
        secret: What the next key is made of (TLS 1.3).
        sequence: The number of the next record.
    """

    key: bytes
    iv: bytes
    suite: Suite
    old: bool = False
    secret: bytes = b""
    sequence: int = 0

    def __repr__(self) -> str:
        return f"<Opener {self.suite.name}, record {self.sequence}>"

    @classmethod
    def of_secret(cls, secret: bytes, suite: Suite) -> Opener | None:
        """Return the opener of a TLS 1.3 traffic secret (RFC 8446 §7.3); None for a suite that we can't open."""
        length = _KEY_LENGTHS.get(suite.encryption)
        if length is None or suite.digest not in _HASHES:
            return None
        key, iv = expand(secret, "key", length, suite), expand(secret, "iv", 12, suite)
        return cls(key, iv, suite, secret=secret)

    def updated(self) -> Opener:
        """Return the opener after a KeyUpdate (RFC 8446 §7.2)."""
        length = _HASHES[self.suite.digest]().digest_size
        found = Opener.of_secret(expand(self.secret, "traffic upd", length, self.suite), self.suite)
        assert found  # noqa: S101 - the suite has not changed
        return found

    def open(self, record: Record) -> tuple[int, bytes] | None:
        """Return the content type and the content of the next record, or None if its seal is broken."""
        try:
            opened = self._open_old(record) if self.old else self._open_new(record)
        except (InvalidTag, ValueError):
            return None
        self.sequence += 1
        return opened

    def _aead(self) -> AESGCM | ChaCha20Poly1305:
        return ChaCha20Poly1305(self.key) if "CHACHA20" in self.suite.name else AESGCM(self.key)

    def _open_new(self, record: Record) -> tuple[int, bytes] | None:
        nonce = (int.from_bytes(self.iv, "big") ^ self.sequence).to_bytes(12, "big")
        inner = self._aead().decrypt(nonce, record.body, record.header).rstrip(b"\0")
        # The last byte that is not padding is the true content type (§5.4).
        return (inner[-1], inner[:-1]) if inner else None

    def _open_old(self, record: Record) -> tuple[int, bytes]:
        sequence = self.sequence.to_bytes(8, "big")
        if "CHACHA20" in self.suite.name:  # RFC 7905 §2
            nonce, sealed = (int.from_bytes(self.iv, "big") ^ self.sequence).to_bytes(12, "big"), record.body
        else:  # RFC 5288 §3: four bytes of the nonce are secret, eight stand in front of the record
            nonce, sealed = self.iv + record.body[:8], record.body[8:]
        length = max(0, len(sealed) - 16)
        additional = sequence + record.header[:3] + length.to_bytes(2, "big")
        return record.content_type, self._aead().decrypt(nonce, sealed, additional)


def expand(secret: bytes, label: str, length: int, suite: Suite) -> bytes:
    """Return HKDF-Expand-Label with an empty context (RFC 8446 §7.1)."""
    name = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(_HASHES[suite.digest](), length, info).derive(secret)


def prf(secret: bytes, label: str, seed: bytes, length: int, suite: Suite) -> bytes:
    """Return so many bytes of TLS 1.2's pseudo-random function (RFC 5246 §5)."""
    digest = "sha384" if suite.digest == "SHA384" else "sha256"
    seed = label.encode() + seed
    link, made = seed, b""
    while len(made) < length:
        link = hmac.digest(secret, link, digest)
        made += hmac.digest(secret, link + seed, digest)
    return made[:length]


def openers_of_master(
    master: bytes, client_random: bytes, server_random: bytes, suite: Suite
) -> dict[Direction, Opener] | None:
    """Return the openers of both sides of a TLS 1.2 session (RFC 5246 §6.3); None for a suite that we can't open."""
    length = _KEY_LENGTHS.get(suite.encryption)
    if length is None:
        return None
    iv = 12 if "CHACHA20" in suite.name else 4
    block = prf(master, "key expansion", server_random + client_random, 2 * (length + iv), suite)
    keys, ivs = block[: 2 * length], block[2 * length :]
    return {
        "client": Opener(keys[:length], ivs[:iv], suite, old=True),
        "server": Opener(keys[length:], ivs[iv:], suite, old=True),
    }


def can_open(suite: Suite) -> bool:
    """Return whether records of a suite can be opened here: those with AEAD can."""
    return suite.encryption in _KEY_LENGTHS
