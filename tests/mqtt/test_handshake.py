"""The handshake microscope, on recordings of a real broker, beside openssl's own account of the same connection."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import FormatError, NotConnectedError
from labkit.mqtt import (
    Capture,
    Endpoint,
    Identity,
    Relay,
    Returner,
    Secrets,
    flip_bit,
    key_log,
    probe,
    read_handshake,
)
from labkit.mqtt.records import Chunk, split_records
from labkit.processes import run
from labkit.scenarios import mutual_tls

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.mqtt import Handshake
    from labkit.scenarios import Site

TOPIC = "devices/sensor-001/status"


def who(site: Site) -> Identity:
    """Return the device."""
    files = site.store.identity("sensor-001")
    return Identity(files.certificate, files.key)


def recorded(site: Site, tls: str, *, identity: bool = True) -> tuple[Capture, Secrets]:
    """Return a recording of one visit, and its secrets."""
    with Relay(site.endpoint) as relay, key_log(site.store.workspace.root) as log:
        probe(
            relay.endpoint,
            trust=site.trust,
            identity=who(site) if identity else None,
            tls=tls,
            publish=TOPIC,
            keylog=log.path,
        )
        return relay.last(), log.secrets()


@pytest.fixture(scope="module")
def recordings(site: Site) -> dict[tuple[str, bool], tuple[Capture, Secrets]]:
    """Return recordings by version and whether the client showed a certificate."""
    return {
        (tls, sure): recorded(site, tls, identity=sure) for tls in ("1.2", "1.3") for sure in (True, False)
    }


pytestmark = pytest.mark.broker

FULL = {
    "1.2": [
        ("client", "ClientHello"), ("server", "ServerHello"), ("server", "Certificate"), ("server", "ServerKeyExchange"),
        ("server", "CertificateRequest"), ("server", "ServerHelloDone"), ("client", "Certificate"),
        ("client", "ClientKeyExchange"), ("client", "CertificateVerify"), ("client", "ChangeCipherSpec"),
        ("client", "Finished"), ("server", "ChangeCipherSpec"), ("server", "Finished"),
    ],
    "1.3": [
        ("client", "ClientHello"), ("server", "ServerHello"), ("server", "ChangeCipherSpec"), ("server", "EncryptedExtensions"),
        ("server", "CertificateRequest"), ("server", "Certificate"), ("server", "CertificateVerify"), ("server", "Finished"),
        ("client", "ChangeCipherSpec"), ("client", "Certificate"), ("client", "CertificateVerify"), ("client", "Finished"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("tls", "trips"), [("1.2", 2), ("1.3", 1)])
def test_a_mutual_handshake_is_read_to_the_end(recordings: Any, tls: str, trips: int) -> None:
    """With the key log every message is there, in order; the round trips are counted from the recording."""
    capture, secrets = recordings[tls, True]
    seen = read_handshake(capture, secrets=secrets)
    assert FULL[tls] == [(m.direction, m.name) for m in seen.messages][: len(FULL[tls])]
    assert (tls, trips, 2) == (seen.version, seen.round_trips, seen.round_trips_to_verdict)
    assert all(m.opened for m in seen.messages)
    assert seen.certificates("client") == ("CN=sensor-001,O=IoT Device Security Labs",)
    assert len(seen.certificates("server")) == 2
    assert ("x25519", False) == (seen.group, seen.resumed)
    assert {side: len(capture.stream(side)) for side in ("client", "server")} == seen.bytes_sent
    data = [m.content for m in seen.messages if m.name == "Application data"]
    assert data[0][:1] == b"\x10"
    assert any(TOPIC.encode() in each for each in data)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_an_eavesdropper_sees_names_only_under_12(recordings: Any, tls: str) -> None:
    """Without secrets TLS 1.2 shows both certificates and TLS 1.3 none; the data stay closed in both."""
    capture, _ = recordings[tls, True]
    seen = read_handshake(capture)
    names = seen.certificates("server") + seen.certificates("client")
    assert (tls == "1.2") == ("CN=sensor-001,O=IoT Device Security Labs" in names)
    assert (tls == "1.2") == (len(names) == 3)
    assert not any(m.content for m in seen.messages)
    assert TOPIC.encode() not in capture.stream("client")
    assert "sensor" not in repr(capture)


@pytest.mark.parametrize(("tls", "alert"), [("1.2", "handshake_failure"), ("1.3", "certificate_required")])
def test_a_refusal_is_read(recordings: Any, tls: str, alert: str) -> None:
    """The alert is the server's last word; TLS 1.3 hides it from everybody but the two ends."""
    capture, secrets = recordings[tls, False]
    assert read_handshake(capture, secrets=secrets).alerts == (("server", alert),)
    assert (tls == "1.2") == bool(read_handshake(capture).alerts)


def test_secrets_of_another_session_open_nothing(recordings: Any) -> None:
    """A key log that does not belong to the recording changes nothing in what is seen."""
    capture, other = recordings["1.3", True][0], recordings["1.3", False][1]
    assert read_handshake(capture).messages == read_handshake(capture, secrets=other).messages
    assert len(other) > 0


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_resumed_session_shows_no_certificate(site: Site, mosquitto: object, tls: str) -> None:
    """The second visit to a broker with tickets is shorter, resumed, and no certificate is shown by anybody."""
    with (
        mutual_tls(site.store, folder="broker/tickets", resumption=True) as generous,
        Relay(generous.endpoint) as relay,
    ):
        client = Returner(relay.endpoint, trust=site.trust, identity=who(site), tls=tls)
        seen = []
        for _ in range(2):
            assert client.visit().accepted
            seen.append(read_handshake(relay.last()))
    assert [False, True] == [each.resumed for each in seen]
    assert [(2 if tls == "1.2" else 1), 1] == [each.round_trips for each in seen]
    assert seen[1].bytes_sent["server"] < seen[0].bytes_sent["server"]
    assert seen[1].certificates("server") == ()


# --- openssl tells the same story -----------------------------------------------------------------------------


def openssl_says(site: Site, relay: Relay, tls: str, folder: Path, *, identity: bool) -> tuple[str, Secrets]:
    """Connect with s_client through a relay; return its account and its secrets."""
    argv: list[str | Path] = ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.endpoint.port}", "-msg", "-CAfile", site.trust,
            f"-tls{tls.replace('.', '_')}", "-keylogfile", folder / "keys", "-servername", "localhost"]  # fmt: skip
    if identity:
        argv += ["-cert", who(site).certificate, "-key", who(site).key]
    said = run(argv, check=False).stdout
    return said, Secrets.parse((folder / "keys").read_text())


@pytest.mark.tool
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_openssl_tells_the_same_story(
    site: Site,
    openssl: object,
    tmp_path: Path,
    tls: str,
    identity: bool,  # noqa: FBT001
) -> None:
    """Names, directions and lengths of all handshake messages are those that s_client -msg prints."""
    with Relay(site.endpoint) as relay:
        said, secrets = openssl_says(site, relay, tls, tmp_path, identity=identity)
        seen = read_handshake(relay.last(), secrets=secrets)
    theirs = [
        ("client" if arrow == ">>>" else "server", name.replace(" ", ""), int(length, 16))
        for arrow, length, name in re.findall(
            r"(>>>|<<<) TLS 1\.\d, Handshake \[length ([0-9a-f]+)\], (.+)", said
        )
    ]
    ours = [
        (m.direction, m.name, m.size)
        for m in seen.messages
        if m.name not in {"ChangeCipherSpec", "Alert", "Application data"}
    ]
    assert len(theirs) > 5
    assert theirs == ours
    assert seen.server_name == "localhost"


# --- hostile bytes --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=300)), max_size=6))
def test_nothing_but_format_errors_come_out(pieces: list[Any]) -> None:
    """Whatever bytes both sides send, the microscope returns something or raises FormatError."""
    capture = Capture(tuple(Chunk(side, float(n), data) for n, (side, data) in enumerate(pieces)))
    try_to_read(capture, None)


def try_to_read(capture: Capture, secrets: Secrets | None) -> Handshake | None:
    """Read a recording that may be damaged."""
    try:
        return read_handshake(capture, secrets=secrets)
    except FormatError as error:
        assert error.offset >= 0
        return None


@settings(max_examples=150)
@given(
    tls=st.sampled_from(["1.2", "1.3"]),
    chunk=st.integers(0, 9),
    position=st.integers(0, 4000),
    value=st.integers(0, 255),
)
def test_a_changed_byte_is_survived(recordings: Any, tls: str, chunk: int, position: int, value: int) -> None:
    """One byte of a real recording is changed: it is read in another way, or refused as no TLS."""
    capture, secrets = recordings[tls, True]
    chunks = list(capture.chunks)
    victim = chunks[chunk % len(chunks)]
    data = bytearray(victim.data)
    data[position % len(data)] = value
    chunks[chunk % len(chunks)] = Chunk(victim.direction, victim.at, bytes(data))
    try_to_read(Capture(tuple(chunks)), secrets)


@settings(max_examples=100)
@given(tls=st.sampled_from(["1.2", "1.3"]), length=st.integers(0, 3000))
def test_a_recording_may_end_anywhere(recordings: Any, tls: str, length: int) -> None:
    """What was complete before the cut is read, and is what the whole recording begins with."""
    capture, secrets = recordings[tls, True]
    left, chunks = length, []
    for chunk in capture.chunks:
        chunks.append(Chunk(chunk.direction, chunk.at, chunk.data[:left]))
        left = max(0, left - len(chunk.data))
    names = [m.name for m in read_handshake(Capture(tuple(chunks)), secrets=secrets).messages]
    assert names == [m.name for m in read_handshake(capture, secrets=secrets).messages][: len(names)]


def test_pieces_of_any_size_read_the_same(recordings: Any) -> None:
    """A byte at a time or all at once, the messages are the same."""
    capture, secrets = recordings["1.3", True]
    crumbs = tuple(
        Chunk(chunk.direction, chunk.at, bytes([byte])) for chunk in capture.chunks for byte in chunk.data
    )
    whole, torn = (read_handshake(each, secrets=secrets).messages for each in (capture, Capture(crumbs)))
    assert [(m.name, m.size, m.flight) for m in whole] == [(m.name, m.size, m.flight) for m in torn]


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"GET / HTTP/1.1\r\n", 0),
        (b"\x10\x0e\x00\x04MQTT", 0),
        (b"\x16\x02\x00\x00\x01x", 1),
        (b"\x16\x03\x03\xff\xff", 3),
    ],
)
def test_other_protocols_are_named(data: bytes, offset: int) -> None:
    """Bytes that are no TLS are refused at the byte that says so."""
    with pytest.raises(FormatError) as caught:
        split_records(Capture((Chunk("client", 0.0, data),)))
    assert ("TLS record", offset) == (caught.value.what, caught.value.offset)


# --- the relay and the key log --------------------------------------------------------------------------------


@pytest.mark.parametrize(("tls", "number"), [("1.2", 1), ("1.3", 4), ("1.3", 1)])
def test_one_bit_is_noticed(site: Site, tls: str, number: int) -> None:
    """One bit of one record is flipped on the way and the server refuses it; unflipped, the same relay lets it pass."""
    outcomes = []
    for alter in (None, flip_bit(number=number)):
        with Relay(site.endpoint, alter=alter) as relay:
            outcomes.append(probe(relay.endpoint, trust=site.trust, identity=who(site), tls=tls))
    assert ["accepted", "bad-record-mac"] == [outcome.reason for outcome in outcomes]


def test_one_bit_of_the_server_is_noticed_too(site: Site) -> None:
    """A flipped bit in what the server says is noticed by us."""
    with Relay(site.endpoint, alter=flip_bit(direction="server")) as relay:
        outcome = probe(relay.endpoint, trust=site.trust, identity=who(site), tls="1.2")
    assert (False, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC") == (
        outcome.accepted,
        outcome.detail["client_error"],
    )


def test_a_relay_to_nowhere_closes(site: Site) -> None:
    """Nothing listens behind the relay: the client is hung up on, and there is no recording."""
    with Relay(Endpoint("127.0.0.1", 1)) as relay:
        outcome = probe(relay.endpoint, trust=site.trust)
        assert (False, "tls") == (outcome.accepted, outcome.stage)
        with pytest.raises(NotConnectedError):
            relay.last(timeout=0.1)
    with pytest.raises(RuntimeError, match="inside"):
        assert relay.endpoint


@pytest.mark.parametrize("host", ["192.0.2.1", "broker.example", "::ffff:192.0.2.1", ""])
def test_a_relay_is_for_this_machine(host: str) -> None:
    """A listener of somebody else's is refused; one of ours is not, by name or by address."""
    with pytest.raises(ValueError, match="on this machine"):
        Relay(Endpoint(host, 8883))
    for ours in ("127.0.0.1", "::1", "localhost"):
        assert Relay(Endpoint(ours, 8883)).captures == []


def test_the_key_log_is_ours_alone_and_goes_away(site: Site) -> None:
    """The file is 0600 while it is there, never shown, and gone afterwards, also after an error."""
    with pytest.raises(ZeroDivisionError), key_log(site.store.workspace.root) as log:
        probe(site.endpoint, trust=site.trust, identity=who(site), keylog=log.path)
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
        secrets = log.secrets()
        raise ZeroDivisionError
    assert not log.path.exists()
    assert repr(secrets) == "<Secrets of 1 sessions>"


def test_a_key_log_that_is_none_is_not_repeated() -> None:
    """The error names the line and does not show it: there may be a secret in it."""
    with pytest.raises(FormatError) as caught:
        Secrets.parse("# a remark\nCLIENT_RANDOM 00ff notasecret\n")
    assert (2, False) == (caught.value.offset, "notasecret" in str(caught.value))
