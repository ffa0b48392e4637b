"""Why forward secrecy matters: a recording of a session without it, opened with the server's key years later.

With static RSA (RFC 5246 §7.4.7.1) the client encrypts the session's secret to the server's key. Who records today and
steals the key tomorrow reads everything. With (EC)DHE the secret is made of two throw-away keys, and the server's key
only signs: it is of no use to a thief of recordings.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from labkit.errors import FormatError, ForwardSecrecyError
from labkit.mqtt.handshake import Handshake, read_handshake, with_openers
from labkit.mqtt.key_schedule import can_open, openers_of_master, prf
from labkit.mqtt.messages import Reader, split_message
from labkit.mqtt.records import CHANGE_CIPHER_SPEC, HANDSHAKE, split_records
from labkit.mqtt.suites import SUITES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from labkit.mqtt.records import Capture
    from labkit.mqtt.suites import Suite

_CLIENT_KEY_EXCHANGE = 16


def open_with_server_key(capture: Capture, key: PrivateKeyTypes) -> Handshake:
    """Open a recorded session with the server's private key.

    Args:
        capture: The whole connection, from its first byte on.
        key: The server's private key.

    Returns:
        The recording with everything readable that the key opens: for static RSA with AES-GCM that is all of it.

    Raises:
        ForwardSecrecyError: The session's secret was never sent, so the key does not help.
        FormatError: It is not TLS, or not a full handshake.

    Does not check: that the key belongs to the certificate in the recording; a wrong one opens nothing.
    """
    seen = read_handshake(capture)
    answer, hello = seen.find("ServerHello"), seen.find("ClientHello")
    suite = SUITES.get(answer.detail["suite_code"]) if answer else None
    if answer is None or hello is None or suite is None:
        raise FormatError(
            "The recording has no complete pair of hellos.",
            advice="Record the connection from its first byte on.",
            what="TLS recording",
            offset=0,
        )
    if seen.version != "1.2" or suite.forward_secret or not isinstance(key, rsa.RSAPrivateKey):
        raise _closed(seen, suite)
    if not can_open(suite):
        raise FormatError(
            f"{suite.name} is not opened here; AES-GCM is.",
            advice="Record a session with AES128-GCM-SHA256.",
            what="TLS recording",
            offset=0,
        )
    client, server = bytes.fromhex(hello.detail["random"]), bytes.fromhex(answer.detail["random"])
    transcript, sealed = _until_key_exchange(capture)
    premaster = key.decrypt(sealed, padding.PKCS1v15())
    if answer.detail["extended_master_secret"]:  # RFC 7627 §4: bound to everything that was said
        digest = hashlib.new(suite.digest.lower(), transcript).digest()
        master = prf(premaster, "extended master secret", digest, 48, suite)
    else:
        master = prf(premaster, "master secret", client + server, 48, suite)
    openers = openers_of_master(master, client, server, suite)
    assert openers  # noqa: S101 - it can be opened
    return with_openers(capture, openers)


def _until_key_exchange(capture: Capture) -> tuple[bytes, bytes]:
    """Return the handshake messages up to ClientKeyExchange, and the encrypted secret in it."""
    transcript, waiting = b"", {"client": b"", "server": b""}
    for record in split_records(capture):
        if record.content_type == CHANGE_CIPHER_SPEC:
            break
        if record.content_type != HANDSHAKE:
            continue
        rest = waiting[record.direction] + record.body
        while True:
            before = rest
            found, rest = split_message(rest)
            if found is None:
                break
            transcript += before[: len(before) - len(rest)]
            if found[0] == _CLIENT_KEY_EXCHANGE:
                return transcript, Reader(found[1], "ClientKeyExchange").vector(2)
        waiting[record.direction] = rest
    raise FormatError(
        "The recording has no ClientKeyExchange: the session was resumed, or cut off.",
        advice="Record a full handshake.",
        what="TLS recording",
        offset=0,
    )


def _closed(seen: Handshake, suite: Suite) -> ForwardSecrecyError:
    why = (
        f"{seen.group or 'a key exchange'} with throw-away keys"
        if suite.forward_secret
        else "another kind of key"
    )
    return ForwardSecrecyError(
        f"The server's key does not open this recording: TLS {seen.version}, {suite.name}, {why}.",
        advice="Nobody can: the keys that could were thrown away when the connection ended.",
        version=seen.version,
        suite=suite.name,
        group=seen.group,
    )
