"""Who may say and hear what, judged by what arrives; and the ways in which a broker's answer misleads."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.outcome import ACCEPTED, Outcome
from labkit.pki.identities import IdentityFiles
from labkit.processes import run
from labkit.scenarios.mutual_tls import FENCE, OBSERVER, Site
from labkit.workspace import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.mqtt import Session
    from labkit.pki import Store

_PATIENCE = 2.0
"""Seconds to wait for a message that must come."""

KEPT = 60
"""Seconds for which a broker keeps the session of a device that is away."""


def presenting_chain(store: Store, name: str) -> IdentityFiles:
    """Return an identity whose certificate file has the intermediate too, as standard TLS clients present it."""
    files = store.identity(name)
    chain = files.certificate.read_bytes() + store.intermediate.read_bytes()
    path = store.workspace.write(f"devices/{name}-chain.pem", chain)
    return IdentityFiles(name, path, files.key)


def hashed_folder(store: Store) -> Path:
    """Return a folder with root and intermediate under the names that OpenSSL looks for (`openssl rehash`).

    Raises:
        ToolMissingError, ToolFailedError: There is no openssl, or it can't.
    """
    folder = make_folder(store.workspace.path("scratch/capath"), private=True)
    for source in (store.trust_anchor, store.intermediate):
        (folder / f"{source.stem}.pem").write_bytes(source.read_bytes())
    run(["openssl", "rehash", folder])
    return folder


@dataclass(frozen=True, slots=True)
class Told:
    """What a publisher was told of one message, and what became of it.

    Attributes:
        protocol: `3.1.1` or `5`.
        qos: How surely it was sent.
        code: The reason code of the answer, as the client library tells it; None where there is no answer. For QoS 2
            it looks at the last answer only (PUBCOMP), and a broker refuses in the first (PUBREC).
        arrived: Whether the observer received it.
    """

    protocol: str
    qos: int
    code: int | None
    arrived: bool

    def row(self) -> tuple[str, str, str, str]:
        """Return the same in words."""
        answer = (
            "no answer"
            if self.code is None
            else f"{self.code} ({'success' if self.code < 0x80 else 'refused'})"
        )
        return (
            f"MQTT {self.protocol}",
            f"QoS {self.qos}",
            answer,
            "arrived" if self.arrived else "did not arrive",
        )


def told_of(site: Site, name: str, topic: str) -> list[Told]:
    """Publish to a topic in every way that MQTT has, and compare what is told with what arrives.

    Args:
        site: The broker.
        name: The publisher.
        topic: Where to.
    """
    found = []
    with site.session(OBSERVER) as observer:
        observer.subscribe("#")
        for protocol, words in ((4, "3.1.1"), (5, "5")):
            with site.session(name, protocol=protocol) as publisher:
                for qos in (0, 1, 2):
                    code = publisher.publish(topic, payload := secrets.token_hex(8), qos=qos)
                    arrived = arrives_before(observer, observer, payload)
                    found.append(Told(words, qos, None if qos == 0 else code, bool(arrived)))
    return found


def heard_by(site: Site, listener: Session, name: str, topic: str, act: Callable[[str], object]) -> Outcome:
    """Do something, and judge by what a listener receives.

    The operator then sends the listener a command of its own; what was not received before that never comes.

    Args:
        site: The broker.
        listener: An open session that has subscribed to what it wants to hear.
        name: Its user name.
        topic: Where the message goes.
        act: Is given a payload, and sends it.

    Returns:
        Accepted at stage `authorised` if the listener received it, refused as `not-delivered` if not, and as `deaf`
        if it hears nothing at all, so that its silence proves nothing.
    """
    payload = secrets.token_hex(8)
    act(payload)
    with site.session(OBSERVER) as operator:
        arrived = arrives_before(listener, operator, payload, fence=f"devices/{name}/commands/fence")
    return _judged(arrived, topic, payload)


def spied_on(site: Site, spy: str, victim: str) -> Outcome:
    """Let one device subscribe to another's commands, send one, and see whether the spy receives it."""
    topic = f"devices/{victim}/commands/open-valve"
    with site.session(spy) as listener:
        for pattern in ("#", f"devices/{victim}/commands/#", f"devices/{spy}/commands/#"):
            listener.subscribe(pattern)

        return heard_by(site, listener, spy, topic, lambda payload: _command(site, topic, payload))


def command_kept(site: Site, victim: str, *, thief: str | None = None) -> Outcome:
    """Send a command to a device that is away, let somebody take its client id meanwhile, and see what it gets.

    Args:
        site: The broker.
        victim: The device; its session is kept while it is away.
        thief: Another device, which claims the victim's client id; None for nobody.

    Returns:
        Accepted at stage `authorised` if the command was waiting for the victim, `not-delivered` if it is gone.
    """
    topic, payload = f"devices/{victim}/commands/close-valve", secrets.token_hex(8)
    with site.session(victim, client_id=victim, keep=KEPT) as session:
        session.subscribe(f"devices/{victim}/commands/#")
    with site.session(OBSERVER) as operator:
        operator.publish(topic, payload)
    if thief:
        site.attempt(site.identity(thief), client_id=victim)
    with site.session(victim, client_id=victim, keep=KEPT) as session:
        session.subscribe(f"devices/{victim}/commands/#")
        with site.session(OBSERVER) as operator:
            arrived = arrives_before(session, operator, payload, fence=f"devices/{victim}/commands/fence")
    return _judged(arrived, topic, payload)


def _judged(arrived: bool | None, topic: str, payload: str) -> Outcome:  # noqa: FBT001 - a verdict
    if arrived:
        return Outcome(
            "authorised", accepted=True, reason=ACCEPTED, detail={"topic": topic, "received": payload}
        )
    reason = "deaf" if arrived is None else "not-delivered"
    return Outcome("authorised", accepted=False, reason=reason, detail={"topic": topic})


def arrives_before(listener: Session, operator: Session, payload: str, *, fence: str = FENCE) -> bool | None:
    """Return whether a payload arrives before a message that the operator sends now; None if that never comes.

    Args:
        listener: An open session that has subscribed to both.
        operator: An open session that may publish to the fence.
        payload: What to look for. Other messages are dropped.
        fence: A topic that the listener hears.
    """
    mark = secrets.token_hex(8)
    operator.publish(fence, mark)
    arrived = False
    while (message := listener.wait_for("#", timeout=_PATIENCE)) is not None:
        arrived = arrived or message.payload == payload.encode()
        if message.payload == mark.encode():
            return arrived
    return None


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that rules must allow or forbid.

    Attributes:
        text: The sentence.
        attempt: Tries it.
        allowed: Whether it must come true, or must not.
    """

    text: str
    attempt: Callable[[Site], Outcome]
    allowed: bool = True


def trials() -> Iterator[Trial]:
    """Yield what the rules of a plant with devices and an operator must do."""

    def publish(name: str, topic: str) -> Callable[[Site], Outcome]:
        return lambda site: site.publish(name, topic, secrets.token_hex(4))

    yield Trial("sensor-001 delivers its telemetry", publish("sensor-001", "devices/sensor-001/telemetry/t"))
    yield Trial("sensor-001 delivers its status", publish("sensor-001", "devices/sensor-001/status"))
    yield Trial("sensor-001 hears its own commands", _hears_own)
    for text, attempt in (
        ("sensor-002 speaks for sensor-001", publish("sensor-002", "devices/sensor-001/telemetry/t")),
        ("sensor-001 commands itself", publish("sensor-001", "devices/sensor-001/commands/x")),
        ("sensor-001 speaks outside the devices' topics", publish("sensor-001", "plant/all/stop")),
        ("sensor-002 hears sensor-001's commands", lambda site: spied_on(site, "sensor-002", "sensor-001")),
    ):
        yield Trial(text, attempt, allowed=False)


def try_rules(site: Site) -> list[tuple[str, bool, Outcome]]:
    """Return each sentence of `trials`, whether it holds, and what happened."""
    found = []
    for trial in trials():
        site.close()  # the observer's client id is needed by some of them
        outcome = trial.attempt(site)
        held = outcome.accepted == trial.allowed and outcome.reason != "deaf"
        found.append((trial.text, held, outcome))
    site.close()
    return found


def _hears_own(site: Site) -> Outcome:
    topic = "devices/sensor-001/commands/blink"
    with site.session("sensor-001") as listener:
        listener.subscribe("devices/sensor-001/commands/#")
        return heard_by(site, listener, "sensor-001", topic, lambda payload: _command(site, topic, payload))


def _command(site: Site, topic: str, payload: str) -> None:
    with site.session(OBSERVER) as operator:
        operator.publish(topic, payload)
