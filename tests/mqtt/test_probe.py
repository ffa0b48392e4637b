"""labkit.mqtt.probe: how far it came and why, against a real broker and against odd peers."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import DEVICE_ACL, Broker, BrokerConfig, Listener
from labkit.clock import Deadline
from labkit.errors import IdentityRefusedError, TopicRefusedError
from labkit.mqtt import Endpoint, Identity, probe
from labkit.mqtt.probe import PATIENCE, Returner
from labkit.mqtt.wire import Wire
from labkit.pki import Key
from labkit.ports import is_listening, reserve_port
from labkit.scenarios import mutual_tls
from tests.simulators.mqtt_peer import answering, hang_up_hard, self_made_server, tcp_peer, tls_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.outcome import Outcome
    from labkit.pki import IdentityFiles, Store
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker

VERSIONS = ("1.2", "1.3")


def identity(files: IdentityFiles) -> Identity:
    """Return files as an identity to connect with."""
    return Identity(files.certificate, files.key)


def tried(site: Site, who: Identity | None, **options: object) -> Outcome:
    """Return the outcome of a probe of the shared broker."""
    return probe(site.endpoint, trust=site.trust, identity=who, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cast(site: Site) -> dict[str, Identity | None]:
    """Return everybody who tries it."""
    found: dict[str, Identity | None] = {"nobody": None, "device": identity(site.identity("sensor-001"))}
    return found | {label: identity(files) for label, files in site.intruders().items()}


EXPECTED = {
    # who: (stage, reason under TLS 1.2, reason under TLS 1.3)
    "device": ("mqtt", "accepted", "accepted"),
    "nobody": ("tls", "handshake-failure", "certificate-required"),
    "expired": ("tls", "certificate-expired", "certificate-expired"),
    "not-yet-valid": ("tls", "bad-certificate", "bad-certificate"),
    "rogue": ("tls", "unknown-ca", "unknown-ca"),
    "self-signed": ("tls", "unknown-ca", "unknown-ca"),
    "server": ("tls", "unsupported-certificate", "unsupported-certificate"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", EXPECTED)
def test_the_wires_own_reason(site: Site, cast: dict[str, Identity | None], who: str, version: str) -> None:
    """Each intruder gets the true alert under both versions; the device gets in."""
    outcome = tried(site, cast[who], tls=version)
    stage, *reasons = EXPECTED[who]
    assert (stage, reasons[VERSIONS.index(version)]) == (outcome.stage, outcome.reason)
    if outcome.accepted:
        assert version == outcome.detail["tls_version"]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["nobody", "expired", "rogue", "server"])
def test_the_reason_is_never_lost(site: Site, cast: dict[str, Identity | None], who: str) -> None:
    """A hundred refusals under TLS 1.3 give a hundred times the same alert, although we speak at once."""
    assert {EXPECTED[who][2]} == {tried(site, cast[who], tls="1.3").reason for _ in range(100)}


@pytest.mark.parametrize("who", EXPECTED)
def test_other_systems_listen_first(
    site: Site, cast: dict[str, Identity | None], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a reset may take the alert with it, the probe listens before it speaks, and finds the same reasons."""
    monkeypatch.setattr("labkit.mqtt.wire.sys.platform", "darwin")
    heard: list[float] = []
    real = Wire.receive

    def receive(self: Wire, *, seconds: float) -> bytes:
        heard.append(seconds)
        return real(self, seconds=seconds)

    monkeypatch.setattr(Wire, "receive", receive)
    outcome = tried(site, cast[who], tls="1.3")
    assert EXPECTED[who][2] == outcome.reason
    assert PATIENCE == heard[0]


@pytest.mark.tool
@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_refuses_in_the_same_words(
    openssl: Path, site: Site, cast: dict[str, Identity | None], version: str
) -> None:
    """Another server that goes by the same rules gives each intruder the same reason as the broker."""
    with s_server(openssl, site.store, version) as endpoint:
        for who, (_, *reasons) in EXPECTED.items():
            outcome = probe(endpoint, trust=site.trust, identity=cast[who], timeout=1)
            if who == "device":  # the control: in, as far as TLS goes
                assert ("mqtt", version) == (outcome.stage, outcome.detail["tls_version"])
            else:
                assert ("tls", reasons[VERSIONS.index(version)]) == (outcome.stage, outcome.reason)


@contextmanager
def s_server(openssl: Path, store: Store, version: str) -> Iterator[Endpoint]:
    """Run openssl's own TLS server, with client certificates required."""
    with reserve_port() as port:
        words = [
            *(
                openssl,
                "s_server",
                "-quiet",
                "-accept",
                f"127.0.0.1:{port}",
                f"-tls{version.replace('.', '_')}",
            ),
            *(
                "-cert",
                store.server().certificate,
                "-cert_chain",
                store.intermediate,
                "-key",
                store.server().key,
            ),
            *("-CAfile", store.trust_bundle, "-Verify", "3", "-verify_return_error", "-rev"),
        ]
        silence = subprocess.DEVNULL
        child = subprocess.Popen([str(word) for word in words], stdin=silence, stdout=silence, stderr=silence)
        try:
            deadline = Deadline(5)
            while not is_listening(port) and not deadline.passed:
                deadline.pause()
            yield Endpoint("127.0.0.1", port)
        finally:
            child.kill()
            child.wait()


@pytest.mark.parametrize("protocol", [4, 5])
def test_both_versions_of_mqtt(site: Site, cast: dict[str, Identity | None], protocol: int) -> None:
    """The device gets in with 3.1.1 and with 5."""
    assert tried(site, cast["device"], protocol=protocol, tls="1.2").accepted


def test_publishing_is_judged_by_reason_code(site: Site, cast: dict[str, Identity | None]) -> None:
    """A publish is authorised or not by MQTT 5's reason code; 3.1.1 has none, so it may not be asked."""
    own, other = "devices/sensor-001/status", "devices/sensor-002/status"
    allowed, denied = (tried(site, cast["device"], publish=topic, tls="1.2") for topic in (own, other))
    assert (allowed.stage, allowed.reason) == ("authorised", "accepted")
    assert (denied.stage, denied.reason, denied.detail["reason_code"]) == (
        "authorised",
        "not-authorised",
        0x87,
    )
    with pytest.raises(ValueError, match="proves nothing"):
        tried(site, cast["device"], publish=own, protocol=4)


def test_a_claimed_user_name_is_worth_nothing(site: Site, cast: dict[str, Identity | None]) -> None:
    """Whoever says admin is still who the certificate says."""
    outcome = tried(
        site, cast["device"], username="admin", publish="devices/sensor-002/commands/x", tls="1.2"
    )
    assert outcome.reason == "not-authorised"


def test_weak_suites_and_old_versions_are_refused(site: Site) -> None:
    """The broker speaks no TLS 1.1 and no suite without forward secrecy; a good suite is the control."""
    results = {}
    for suite in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        context = ssl.create_default_context(cafile=site.trust)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        results[suite] = _reason(site, context)
    assert (
        results.pop("ECDHE-ECDSA-AES128-GCM-SHA256") == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    )  # no certificate, yet agreed
    assert set(results.values()) == {"SSLV3_ALERT_HANDSHAKE_FAILURE"}


def _reason(site: Site, context: ssl.SSLContext) -> str | None:
    with socket.create_connection((site.host, site.port), timeout=5) as tcp:
        try:
            context.wrap_socket(tcp, server_hostname="localhost").close()
        except ssl.SSLError as error:
            return error.reason
    return None


@pytest.mark.parametrize(("version", "resumes"), [("1.3", False), ("1.2", True)])
def test_no_ticket_is_handed_out(
    site: Site,
    cast: dict[str, Identity | None],
    version: str,
    resumes: bool,  # noqa: FBT001
) -> None:
    """The broker gives no ticket; TLS 1.3 can't resume, and TLS 1.2 only from OpenSSL's own cache (decision 0008)."""
    who = cast["device"]
    assert who
    context = ssl.create_default_context(cafile=site.trust)
    context.minimum_version = context.maximum_version = VERSIONS_OF_SSL[version]
    context.load_cert_chain(who.certificate, who.key)
    first, _ = _session_of(site, context, None)
    assert not first.has_ticket
    assert resumes == _session_of(site, context, first)[1]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_returner_resumes_where_it_may(store: Store, mosquitto: object, version: str) -> None:
    """Where OpenSSL hands out tickets, a second visit resumes, and a full handshake is still to be had."""
    files = store.identity("sensor-001")
    with mutual_tls(store, resumption=True) as open_handed:
        returner = Returner(
            open_handed.endpoint,
            trust=store.trust_anchor,
            identity=Identity(files.certificate, files.key),
            tls=version,
        )
        visits = [returner.visit(), returner.visit(), returner.visit(resume=False)]
    assert [(True, False), (True, True), (True, False)] == [(v.accepted, v.detail["resumed"]) for v in visits]


VERSIONS_OF_SSL = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _session_of(
    site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession, bool]:
    from labkit.mqtt import packets

    with (
        socket.create_connection((site.host, site.port), timeout=5) as tcp,
        context.wrap_socket(tcp, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(packets.connect(protocol=5))
        assert tls.recv(100)[0] == 0x20
        tls.sendall(packets.disconnect())  # a session that ends without goodbye is not kept
        assert tls.session
        return tls.session, bool(tls.session_reused)


# --- we refuse the server, or there is no broker ----------------------------------------------------------------


def test_nothing_listens(store: Store) -> None:
    """A port with nobody behind it refuses at tcp."""
    with reserve_port() as port:
        outcome = probe(Endpoint("127.0.0.1", port), trust=store.trust_anchor)
    assert ("tcp", "connection-refused") == (outcome.stage, outcome.reason)


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (lambda c: c.sendall(b"220 hello, this is no TLS\r\n"), "not-tls"),
        (lambda c: c.close(), "closed-without-reason"),
        (lambda c: c.recv(4096), "closed-without-reason"),
        (lambda c: [c.recv(4096), c.recv(1)], "timeout"),
    ],
)
def test_peers_that_are_no_tls(store: Store, serve: Callable[[socket.socket], object], reason: str) -> None:
    """A peer that speaks something else, hangs up or says nothing is told apart."""
    with tcp_peer(serve) as peer:
        outcome = probe(peer.endpoint, trust=store.trust_anchor, timeout=0.4)
    assert ("tls", reason) == (outcome.stage, outcome.reason)


def test_a_listener_without_tls(mosquitto: Mosquitto, store: Store, tmp_path: Path) -> None:
    """Mosquitto on a plain port hangs up on our hello; the detail says that it never spoke TLS."""

    def plain(port: int) -> BrokerConfig:
        return BrokerConfig(listeners=(Listener(port=port),))

    with Broker(tmp_path / "plain", plain, acl=DEVICE_ACL) as broker:
        outcome = probe(Endpoint(broker.host, broker.port), trust=store.trust_anchor)
    assert ("tls", "closed-without-reason") == (outcome.stage, outcome.reason)
    assert outcome.detail["client_error"] == "it hung up before it had said a word of TLS"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not-mqtt"),
        (answering(b"\x20\xff\xff\xff\x7f"), "not-mqtt"),
        (answering(b"\x20\x01\x00"), "not-mqtt"),
        (answering(b"\x40\x02\x00\x01"), "not-mqtt"),
        (answering(b"\x20\x7f"), "timeout"),
        (lambda tls: [tls.recv(100), tls.recv(1)], "timeout"),
        (lambda tls: tls.recv(100), "closed-without-reason"),
        (answering(b"\x20\x03\x00\x87\x00"), "not-authorised"),
        (answering(b"\x20\x02\x00\x01"), "unsupported-protocol-version"),
        (answering(b"\xe0\x02\x8b\x00"), "server-shutting-down"),
        (answering(b"\xe0\x00"), "disconnected"),
        (answering(b"\x20\x03\x00\x00\x00"), "accepted"),
    ],
)
def test_peers_that_are_no_broker(
    tmp_path: Path, serve: Callable[[ssl.SSLSocket], object], reason: str, version: str
) -> None:
    """Over TLS: no MQTT, half an answer, silence, or a broker that says no are told apart; yes is the control."""
    certificate, key = self_made_server(tmp_path)
    with tls_peer(certificate, key, serve, version=VERSIONS_OF_SSL[version]) as peer:
        outcome = probe(named(peer.endpoint), trust=certificate, timeout=0.4)
    assert ("mqtt", reason, version) == (outcome.stage, outcome.reason, outcome.detail["tls_version"])


def named(endpoint: Endpoint, name: str = "localhost") -> Endpoint:
    """Return an endpoint whose certificate must carry a name."""
    return Endpoint(endpoint.host, endpoint.port, name)


def test_silence_after_we_spoke_first_is_looked_at_again(tmp_path: Path) -> None:
    """A TLS 1.3 server that hangs up without a word gets a second, patient attempt, which sees that it was tls."""
    certificate, key = self_made_server(tmp_path)
    with tls_peer(certificate, key, hang_up_hard, version=ssl.TLSVersion.TLSv1_3) as peer:
        outcome = probe(named(peer.endpoint), trust=certificate, timeout=2)
        tries = peer.connections
        patient = probe(named(peer.endpoint), trust=certificate, timeout=2, patience=0.5)
    assert (
        (outcome.stage, outcome.reason) == (patient.stage, patient.reason) == ("tls", "closed-without-reason")
    )
    assert tries == (2 if sys.platform == "linux" else 1)
    assert peer.connections == tries + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_we_do_not_trust(store: Store, tmp_path: Path, version: str) -> None:
    """We refuse a server by another root, under another name, past its time, or without the purpose; a good one passes."""
    client, good = store.issue_device("sensor-001"), store.server()
    chain = store.workspace.write(
        "intruders/client.crt", client.certificate.read_bytes() + store.intermediate.read_bytes()
    )
    root = store.trust_anchor
    (tmp_path / "old").mkdir()
    alone, old = self_made_server(tmp_path), self_made_server(tmp_path / "old", ends=-1)
    cases = (
        # certificate, key, trust, name, verdict
        (store.server_chain, good.key, root, "localhost", ("mqtt", "not-mqtt")),
        (store.server_chain, good.key, root, "evil.local", ("tls", "server-wrong-name")),
        (store.server_chain, good.key, root, "127.0.0.2", ("tls", "server-wrong-name")),
        (store.server_chain, good.key, alone[0], "localhost", ("tls", "server-untrusted")),
        (*alone, root, "localhost", ("tls", "server-untrusted")),
        (*old, old[0], "localhost", ("tls", "server-expired")),
        (chain, client.key, root, "sensor-001", ("tls", "server-wrong-purpose")),
    )
    for certificate, key, trust, name, verdict in cases:
        with tls_peer(certificate, key, answering(b"HTTP"), version=VERSIONS_OF_SSL[version]) as peer:
            outcome = probe(named(peer.endpoint, name), trust=trust, timeout=2)
        assert verdict == (outcome.stage, outcome.reason)
        assert "alert" not in outcome.detail


# --- our own mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misuse", [{"protocol": 3}, {"tls": "1.1"}, {"protocol": 4, "publish": "a"}])
def test_misuse_is_no_outcome(store: Store, misuse: dict[str, Any]) -> None:
    """What no peer could answer is a ValueError, before anything is sent."""
    with tcp_peer(lambda c: c.recv(1)) as peer:
        with pytest.raises(ValueError, match=r"protocol|tls|PUBACK"):
            probe(peer.endpoint, trust=store.trust_anchor, **misuse)
        with pytest.raises(TopicRefusedError):
            probe(peer.endpoint, trust=store.trust_anchor, publish="a/#")
        assert peer.connections == 0


def test_our_own_files_are_checked_first(site: Site, store: Store, tmp_path: Path) -> None:
    """A key that does not fit, a missing or damaged file: an error that names it, and no connection."""
    device = store.issue_device("sensor-001")
    other = tmp_path / "other.key"
    other.write_bytes(Key.generate().pem())
    junk = tmp_path / "junk.crt"
    junk.write_text("nothing")
    cases = (
        (Identity(device.certificate, other), "key-mismatch", other),
        (Identity(tmp_path / "absent.crt", device.key), "unreadable", tmp_path / "absent.crt"),
        (Identity(device.certificate, tmp_path / "absent.key"), "unreadable", tmp_path / "absent.key"),
        (Identity(junk, device.key), "unreadable", junk),
    )
    mark = site.broker.log.mark()
    for who, rule, path in cases:
        with pytest.raises(IdentityRefusedError) as caught:
            probe(site.endpoint, trust=site.trust, identity=who)
        assert (rule, path) == (caught.value.rule, caught.value.path)
    assert [e for e in site.broker.log.since(mark) if e.kind == "connection"] == []
