"""labkit.mqtt.probe: how far it came and why, against a real broker and against odd peers."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from labkit.errors import IdentityRefusedError, NotConnectedError
from labkit.mqtt import Endpoint, Identity, delivered, open_session, probe
from labkit.pki import Key, Store, flawed
from labkit.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.outcome import Outcome
    from labkit.pki import IdentityFiles
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
def test_the_reason_is_never_lost(site: Site, cast: dict[str, Identity | None]) -> None:
    """A hundred refusals under TLS 1.3 give a hundred times the same alert."""
    assert {"unknown-ca"} == {tried(site, cast["rogue"], tls="1.3").reason for _ in range(100)}


@pytest.mark.parametrize("protocol", [4, 5])
def test_both_versions_of_mqtt(site: Site, cast: dict[str, Identity | None], protocol: int) -> None:
    """The device gets in with 3.1.1 and with 5."""
    assert tried(site, cast["device"], protocol=protocol, tls="1.2").accepted


def test_publishing_is_judged_by_reason_code(site: Site, cast: dict[str, Identity | None]) -> None:
    """A publish is authorised or not by MQTT 5's reason code; 3.1.1 has none, so it may not be asked."""
    own, other = "devices/sensor-001/status", "devices/sensor-002/status"
    allowed, denied = (tried(site, cast["device"], publish=topic, tls="1.2") for topic in (own, other))
    assert (allowed.stage, allowed.reason) == ("authorised", "accepted")
    assert (denied.stage, denied.reason, denied.detail["reason_code"]) == ("authorised", "not-authorised", 0x87)
    with pytest.raises(ValueError, match="proves nothing"):
        tried(site, cast["device"], publish=own, protocol=4)


def test_a_claimed_user_name_is_worth_nothing(site: Site, cast: dict[str, Identity | None]) -> None:
    """Whoever says admin is still who the certificate says."""
    outcome = tried(site, cast["device"], username="admin", publish="devices/sensor-002/commands/x", tls="1.2")
    assert outcome.reason == "not-authorised"


def test_weak_suites_and_old_versions_are_refused(site: Site) -> None:
    """The broker speaks no TLS 1.1 and no suite without forward secrecy; a good suite is the control."""
    results = {}
    for suite in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        context = ssl.create_default_context(cafile=site.trust)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        results[suite] = _reason(site, context)
    assert results.pop("ECDHE-ECDSA-AES128-GCM-SHA256") == "SSLV3_ALERT_HANDSHAKE_FAILURE"  # no certificate, yet agreed
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
    site: Site, cast: dict[str, Identity | None], version: str, resumes: bool  # noqa: FBT001
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


VERSIONS_OF_SSL = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _session_of(site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
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


@contextmanager
def peer(serve: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    """Serve each connection with a function, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def loop() -> None:
            while not done.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    connection.settimeout(3)
                    with connection:
                        serve(connection)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield Endpoint("127.0.0.1", server.getsockname()[1])
        finally:
            done.set()
            thread.join()


@contextmanager
def tls_peer(store: Store, stem: str, after: Callable[[ssl.SSLSocket], None]) -> Iterator[Endpoint]:
    """Serve TLS with an identity of the workspace."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(store.workspace.path(f"{stem}.crt"), store.workspace.path(f"{stem}.key"))

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            after(tls)

    with peer(serve) as endpoint:
        yield endpoint


def chained(store: Store) -> str:
    """Store the broker's chain and key side by side and return their stem."""
    store.workspace.write("intruders/chain.crt", store.server_chain.read_bytes())
    store.workspace.write("intruders/chain.key", store.server().key.read_bytes(), secret=True)
    return "intruders/chain"


def test_nothing_listens(store: Store) -> None:
    """A port with nobody behind it refuses at tcp."""
    with reserve_port() as port:
        outcome = probe(Endpoint("127.0.0.1", port), trust=store.trust_anchor)
    assert (outcome.stage, outcome.reason) == ("tcp", "connection-refused")


@pytest.mark.parametrize(
    ("serve", "stage", "reason"),
    [
        (lambda c: c.sendall(b"220 hello, this is no TLS\r\n"), "tls", "not-tls"),
        (lambda c: c.close(), "tls", "closed-without-reason"),
        (lambda c: c.recv(4096), "tls", "closed-without-reason"),
        (lambda c: [c.recv(4096), c.recv(1)], "tls", "timeout"),
    ],
)
def test_peers_that_are_no_tls(store: Store, serve: Callable[[socket.socket], None], stage: str, reason: str) -> None:
    """A peer that speaks something else, hangs up or says nothing is told apart."""
    with peer(serve) as endpoint:
        outcome = probe(endpoint, trust=store.trust_anchor, timeout=0.5)
    assert (stage, reason) == (outcome.stage, outcome.reason)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (lambda tls: [tls.recv(100), tls.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls.recv(1)], "not-mqtt"),
        (lambda tls: [tls.recv(100), tls.sendall(b"\x20\xff\xff\xff\x7f"), tls.recv(1)], "not-mqtt"),
        (lambda tls: [tls.recv(100), tls.sendall(b"\x40\x02\x00\x01"), tls.recv(1)], "not-mqtt"),
        (lambda tls: [tls.recv(100), tls.recv(1)], "timeout"),
        (lambda tls: tls.recv(100), "closed-without-reason"),
        (lambda tls: [tls.recv(100), tls.sendall(b"\x20\x03\x00\x87\x00"), tls.recv(1)], "not-authorised"),
    ],
)
def test_peers_that_are_no_broker(store: Store, after: Callable[[ssl.SSLSocket], None], reason: str) -> None:
    """A TLS server that is no MQTT broker, or a broker that says no, refuses at mqtt."""
    with tls_peer(store, chained(store), after) as endpoint:
        outcome = probe(endpoint, trust=store.trust_anchor, timeout=0.7, patience=0.05)
    assert ("mqtt", reason) == (outcome.stage, outcome.reason)


def test_a_server_that_we_do_not_trust(store: Store, tmp_path: Path) -> None:
    """We refuse a server by another root, under another name, past its time, or without the purpose."""
    store.save_intruder("late", flawed.expired(store.authority(), "localhost-device"))
    store.save_intruder("alone", flawed.self_signed("localhost-device"))
    client = store.issue_device("sensor-001")
    store.workspace.write("intruders/client.crt", client.certificate.read_bytes() + store.intermediate.read_bytes())
    store.workspace.write("intruders/client.key", client.key.read_bytes(), secret=True)
    good = chained(store)
    cases = (
        (good, "localhost", "accepted-tls"),
        (good, "evil.local", "server-wrong-name"),
        ("intruders/alone", "localhost", "server-untrusted"),
        ("intruders/client", "sensor-001", "server-wrong-purpose"),
    )
    for stem, name, reason in cases:
        with tls_peer(store, stem, lambda tls: tls.recv(1)) as endpoint:
            named = Endpoint(endpoint.host, endpoint.port, name)
            outcome = probe(named, trust=store.trust_anchor, timeout=0.7, patience=0.05)
        if reason == "accepted-tls":  # the control: TLS works, and then nobody speaks MQTT
            assert (outcome.stage, outcome.reason) == ("mqtt", "closed-without-reason")
        else:
            assert ("tls", reason) == (outcome.stage, outcome.reason)


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


# --- sessions ---------------------------------------------------------------------------------------------------


def test_delivery_is_judged_by_the_observer(site: Site) -> None:
    """What arrives is accepted, what is forbidden is not, whatever the publisher was told."""
    with site.session("admin") as observer, site.session("sensor-001") as device:
        observer.subscribe("#")
        fence = "devices/observer/commands/fence"
        good = delivered(device, observer, "devices/sensor-001/status", "up", fence=fence)
        bad = delivered(device, observer, "devices/sensor-002/status", "up", fence=fence)
    assert (good.accepted, good.detail["received"]) == (True, "up")
    assert (bad.accepted, bad.reason, bad.stage) == (False, "not-authorised", "authorised")


def test_commands_reach_their_device_alone(site: Site) -> None:
    """A subscription to another's commands is granted and brings nothing; one's own arrive."""
    with site.session("admin") as admin, site.session("sensor-001") as one, site.session("sensor-002") as two:
        for session in (one, two):
            session.subscribe("devices/+/commands/#")
        assert admin.publish("devices/sensor-001/commands/reboot", "now") < 0x80
        assert admin.publish("devices/sensor-002/commands/fence", "x") < 0x80
        got = one.wait_for("#")
        assert got
        assert (got.topic, got.payload) == ("devices/sensor-001/commands/reboot", b"now")
        fence = two.wait_for("#")
        assert fence
        assert fence.topic == "devices/sensor-002/commands/fence"


def test_a_refused_session_knows_why(site: Site, cast: dict[str, Identity | None]) -> None:
    """A session that is refused carries the outcome of a probe, under TLS 1.3 too."""
    with pytest.raises(NotConnectedError) as caught:
        with open_session(site.endpoint, trust=site.trust, identity=cast["rogue"], timeout=2):
            pass
    assert caught.value.outcome.reason == "unknown-ca"  # type: ignore[attr-defined]


def test_sessions_leave_no_thread(site: Site) -> None:
    """A session's thread ends with its block, after an error too."""
    before = threading.active_count()
    with suppress(ValueError), site.session("sensor-001"):
        raise ValueError
    assert before == threading.active_count()
