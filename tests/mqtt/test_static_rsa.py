"""labkit.mqtt.static_rsa: a recording without forward secrecy is opened with the server's key, one with it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from labkit.errors import FormatError, ForwardSecrecyError
from labkit.mqtt import Capture, Relay, open_with_server_key, probe
from labkit.mqtt.records import Chunk
from labkit.scenarios.eavesdropping import PASSWORD, old_broker, overhear, overhear_with_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.pki import Store
    from labkit.scenarios.eavesdropping import OldBroker

pytestmark = pytest.mark.broker


@pytest.fixture
def old(store: Store, mosquitto: Mosquitto) -> Iterator[OldBroker]:
    """Return a broker with an RSA key that takes every suite."""
    with old_broker(store.workspace) as staged:
        yield staged


def recording(old: OldBroker, suite: str, tls: str = "1.2") -> Capture:
    """Return a recording of a log-in with a password."""
    with Relay(old.endpoint) as relay:
        outcome = probe(
            relay.endpoint, trust=old.trust, tls=tls, ciphers=suite, username="sensor-001", password=PASSWORD
        )
        assert outcome.accepted, outcome
        return relay.last()


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384"])
def test_a_stolen_key_opens_static_rsa(old: OldBroker, suite: str) -> None:
    """The password is not in the recording, and is in what the key opens."""
    capture = recording(old, suite)
    assert PASSWORD.encode() not in capture.stream("client")
    opened = open_with_server_key(capture, old.stolen_key())
    said = b"".join(m.content for m in opened.messages if m.direction == "client")
    assert PASSWORD.encode() in said
    assert all(m.opened for m in opened.messages)
    for words, reason in ((PASSWORD, "accepted"), ("never said", "not-said")):
        assert reason == overhear_with_key(capture, old.stolen_key(), words).reason
    assert ("tls", "encrypted") == (overhear(capture, PASSWORD).stage, overhear(capture, PASSWORD).reason)


@pytest.mark.parametrize(("suite", "tls"), [("ECDHE-RSA-AES128-GCM-SHA256", "1.2"), ("", "1.3")])
def test_a_stolen_key_does_not_open_ecdhe(old: OldBroker, suite: str, tls: str) -> None:
    """With throw-away keys there is nothing in the recording that the server's key could open."""
    with pytest.raises(ForwardSecrecyError) as caught:
        open_with_server_key(recording(old, suite, tls), old.stolen_key())
    assert (tls, "x25519") == (caught.value.version, caught.value.group)
    assert (
        overhear_with_key(recording(old, suite, tls), old.stolen_key(), PASSWORD).reason == "forward-secrecy"
    )


def test_another_key_opens_nothing(old: OldBroker) -> None:
    """A key that is not the server's gives no error of its own (RFC 5246 §7.4.7.1), and opens not a word."""
    wrong = rsa.generate_private_key(65537, 2048)
    try:
        opened = open_with_server_key(recording(old, "AES128-GCM-SHA256"), wrong)
    except ValueError:
        return  # a library without implicit rejection
    assert not any(m.content for m in opened.messages)


def test_half_a_recording_is_told(old: OldBroker) -> None:
    """A recording that was cut off before the key exchange is refused as such."""
    capture = recording(old, "AES128-GCM-SHA256")
    for chunks in ((), capture.chunks[:1], capture.chunks[:2]):
        with pytest.raises(FormatError):
            open_with_server_key(Capture(tuple(chunks)), old.stolen_key())


def test_cbc_is_told_apart(old: OldBroker) -> None:
    """A suite that we do not open is named."""
    with pytest.raises(FormatError) as caught:
        open_with_server_key(recording(old, "AES128-SHA"), old.stolen_key())
    assert "TLS_RSA_WITH_AES_128_CBC_SHA" in caught.value.message


def test_no_tls_at_all_is_told() -> None:
    """Junk is no recording."""
    with pytest.raises(FormatError):
        open_with_server_key(Capture((Chunk("client", 0.0, b"junk"),)), rsa.generate_private_key(65537, 2048))
