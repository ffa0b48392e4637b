"""labkit.mqtt.client: sessions that end for sure, and delivery judged by who receives."""

from __future__ import annotations

import gc
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.errors import MqttError, NotConnectedError, TopicRefusedError
from labkit.mqtt import Endpoint, Identity, Message, Session, Will, delivered, matches, open_session
from labkit.outcome import Outcome
from labkit.ports import reserve_port
from tests.simulators.mqtt_peer import self_made_server, tls_peer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from labkit.scenarios import Site

pytestmark = pytest.mark.broker

FENCE = "devices/observer/commands/fence"


def opened(site: Site, name: str, **options: object) -> AbstractContextManager[Session]:
    """Open a session as somebody of the workspace."""
    files = site.identity(name)
    who = Identity(files.certificate, files.key)
    return open_session(site.endpoint, trust=site.trust, identity=who, **options)  # type: ignore[arg-type]


def outcome_of(step: Callable[[], object]) -> Outcome:
    """Return the outcome that a step's refusal carries."""
    with pytest.raises(NotConnectedError) as caught:
        step()
    assert isinstance(caught.value.outcome, Outcome)
    return caught.value.outcome


def enter(session: AbstractContextManager[Session]) -> None:
    """Open a session and close it."""
    with session:
        pass


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


def test_a_3_1_1_publisher_is_told_nothing(site: Site) -> None:
    """The PUBACK of 3.1.1 is the same for what is delivered and what is not; the observer tells them apart."""
    with opened(site, "admin") as observer, opened(site, "sensor-001", protocol=4) as device:
        observer.subscribe("devices/#")
        good = delivered(device, observer, "devices/sensor-001/status", "up", fence=FENCE)
        bad = delivered(device, observer, "devices/sensor-002/status", "up", fence=FENCE)
    assert good.accepted
    assert (bad.accepted, bad.reason) == (False, "not-delivered")
    assert good.detail["reason_code"] == bad.detail["reason_code"] == 0


def test_a_message_that_looks_alike_is_not_ours(site: Site) -> None:
    """While the real device says the same on the same topic, a forger is still found out."""
    topic = "devices/sensor-001/status"
    with (
        opened(site, "admin") as observer,
        opened(site, "sensor-001") as real,
        opened(site, "sensor-002") as forger,
    ):
        observer.subscribe("#")
        real.publish(topic, "up")
        outcome = delivered(forger, observer, topic, "up", fence=FENCE)
        control = delivered(real, observer, topic, "up", fence=FENCE)
    assert (False, "not-authorised") == (outcome.accepted, outcome.reason)
    assert control.accepted


TOPICS = [
    f"devices/{name}/commands{rest}" for name in ("a", "a b", "é") for rest in ("", "/x", "/x/", "/x/y")
]


@pytest.mark.parametrize(
    "pattern",
    [
        "#",
        "devices/#",
        "devices/+/commands",
        "devices/+/commands/+",
        "devices/+/commands/#",
        "devices/a/commands/x/#",
        "+/+/+/+/+",
        "devices/é/+/x/y",
        "/#",
        "devices/a/commands/x/",
        "$share/group/devices/+/commands/+",
    ],
)
def test_mosquitto_matches_alike(site: Site, pattern: str) -> None:
    """The real broker delivers what our matching says that it should, and nothing else."""
    with opened(site, "admin") as admin:
        admin.subscribe(pattern)
        admin.subscribe(FENCE)
        for topic in [*TOPICS, FENCE]:
            admin.publish(topic, "x")
        assert admin.wait_for(FENCE)
        received = {message.topic for message in admin.messages} - {FENCE}
    assert {topic for topic in TOPICS if matches(pattern, topic)} == received


def test_a_deaf_observer_is_no_judge(site: Site) -> None:
    """An observer that has not subscribed can't say that a message was refused."""
    with opened(site, "admin") as observer, opened(site, "sensor-001") as device:
        observer.subscribe("devices/observer/#")
        with pytest.raises(ValueError, match="has not subscribed"):
            delivered(device, observer, "devices/sensor-001/status", "up", fence=FENCE)


def test_messages_wait_to_be_read(site: Site) -> None:
    """What was delivered is listed without being consumed, and waiting takes what matches and leaves the rest."""
    with opened(site, "admin") as admin:
        admin.subscribe("devices/+/commands/#")
        for name in ("a", "b"):
            admin.publish(f"devices/{name}/commands/x", name)
        second = admin.wait_for("devices/b/#")
        assert Message("devices/b/commands/x", b"b") == second
        assert (Message("devices/a/commands/x", b"a"),) == admin.messages == admin.messages
        assert admin.wait_for("devices/b/#", timeout=0.05) is None


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    ("who", "stage", "reason"),
    [("rogue", "tls", "unknown-ca"), ("expired", "tls", "certificate-expired")],
)
def test_a_refused_session_knows_why(site: Site, who: str, stage: str, reason: str, protocol: int) -> None:
    """A session that is refused carries the outcome of a probe, under TLS 1.3 too."""
    files = site.intruders(who)[who]
    intruder = Identity(files.certificate, files.key)
    outcome = outcome_of(
        lambda: enter(open_session(site.endpoint, trust=site.trust, identity=intruder, protocol=protocol))
    )
    assert (stage, reason) == (outcome.stage, outcome.reason)


def test_a_session_checks_the_endpoints_name(site: Site) -> None:
    """A session insists on the name that it was given, although it connects to an address."""
    files = site.identity("sensor-001")
    who = Identity(files.certificate, files.key)

    def under(name: str) -> AbstractContextManager[Session]:
        return open_session(Endpoint(site.host, site.port, name), trust=site.trust, identity=who)

    outcome = outcome_of(lambda: enter(under("evil.local")))
    assert ("tls", "server-wrong-name") == (outcome.stage, outcome.reason)
    enter(under("localhost"))


def test_no_broker_no_session(site: Site) -> None:
    """Where nothing listens, the session says so."""
    with reserve_port() as port:
        outcome = outcome_of(
            lambda: enter(open_session(Endpoint("127.0.0.1", port), trust=site.trust, identity=None))
        )
    assert ("tcp", "connection-refused") == (outcome.stage, outcome.reason)


def test_a_session_that_is_taken_over_stays_down(site: Site) -> None:
    """A second session of the same identity ends the first, which says so and does not fight for its place."""
    with opened(site, "sensor-001") as first:
        with opened(site, "sensor-001") as second:
            outcome = outcome_of(lambda: first.publish("devices/sensor-001/status", "here"))
            # The standard wants a DISCONNECT that says so (MQTT 5 §3.1.4); Mosquitto 2.0.11 just hangs up.
            assert outcome.stage == "mqtt"
            assert outcome.reason in {"session-taken-over", "connection-lost"}
            assert first.wait_for("#", timeout=30) is None  # at once: nothing can come any more
            assert second.publish("devices/sensor-001/status", "here") < 0x80
        assert outcome == outcome_of(lambda: first.subscribe("devices/sensor-001/commands/#"))


def test_the_brokers_last_word_is_kept(tmp_path: Path) -> None:
    """Where the broker says why it ends a session, that is the reason, and not the closed socket after it."""
    certificate, key = self_made_server(tmp_path)

    def serve(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK: welcome
        tls.recv(4096)
        tls.sendall(b"\xe0\x01\x8e")  # DISCONNECT: session taken over

    with tls_peer(certificate, key, serve) as peer:
        endpoint = Endpoint(peer.endpoint.host, peer.endpoint.port, "localhost")
        with open_session(endpoint, trust=certificate, identity=None) as session:
            outcome = outcome_of(lambda: session.publish("a", "b"))
    assert ("mqtt", "session-taken-over") == (outcome.stage, outcome.reason)


def test_a_broker_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """A peer that takes our CONNECT and is silent costs the time of a step, in the session and in the probe."""
    certificate, key = self_made_server(tmp_path)
    with tls_peer(certificate, key, lambda tls: [tls.recv(4096), tls.recv(4096)]) as peer:
        endpoint = Endpoint(peer.endpoint.host, peer.endpoint.port, "localhost")
        silent = open_session(endpoint, trust=certificate, identity=None, timeout=0.3)
        outcome = outcome_of(lambda: enter(silent))
    assert outcome.reason in {"timeout", "closed-without-reason"}


STATUS = "devices/sensor-001/status"


def test_a_will_is_sent_for_who_is_gone_without_a_word(site: Site) -> None:
    """The broker speaks for a device whose connection broke, keeps it, and is silent for one that took its leave."""
    will = Will(STATUS, "offline")
    with site.session("admin") as observer:
        observer.subscribe(STATUS)
        with opened(site, "sensor-001", will=will) as device:
            device.publish(STATUS, "leaving", retain=True)
        assert Message(STATUS, b"leaving") == observer.wait_for(STATUS)
        with opened(site, "sensor-001", will=will) as device:
            device.publish(STATUS, "online")
            assert Message(STATUS, b"online") == observer.wait_for(STATUS)
            device.abandon()
            assert Message(STATUS, b"offline") == observer.wait_for(STATUS)
            deadline = Deadline(5)
            while not device.ended and not deadline.passed:
                deadline.pause()
            assert "connection-lost" == device.ended
    with site.session("admin") as later:
        later.subscribe(STATUS)
        assert Message(STATUS, b"offline") == later.wait_for(STATUS)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, None])
def test_sessions_leave_nothing(site: Site, error: type[BaseException] | None) -> None:
    """A session's thread and sockets end with its block, after an error or an interrupt too."""
    before = threading.active_count()
    ending = pytest.raises(error) if error else nullcontext()
    with ending, opened(site, "sensor-001") as session:
        session.publish("devices/sensor-001/status", "up")
        if error:
            raise error
    assert before == threading.active_count()
    gc.collect()  # a socket that was left open would warn here, and warnings are errors


def test_bad_topics_are_refused_here(site: Site) -> None:
    """What is no topic is refused before anything is sent, and the session goes on."""
    with opened(site, "admin") as admin:
        for step in (lambda: admin.publish("a/#", "x"), lambda: admin.subscribe("a#")):
            with pytest.raises(TopicRefusedError) as caught:
                step()
            assert isinstance(caught.value, MqttError)
        assert admin.publish("devices/a/commands/x", "still here") < 0x80


def test_unknown_protocols_are_misuse(site: Site) -> None:
    """There is no MQTT 3."""
    with pytest.raises(ValueError, match="protocol"):
        enter(opened(site, "admin", protocol=3))
