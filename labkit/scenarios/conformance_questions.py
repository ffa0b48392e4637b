"""What every broker is asked. Each question is a sentence that comes true or does not."""

from __future__ import annotations

import datetime as dt
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import NotConnectedError
from labkit.mqtt import Identity, Will
from labkit.mqtt.packets import V5, V311
from labkit.mqtt.probe import Returner
from labkit.outcome import Outcome
from labkit.pki import issue_list
from labkit.pki.revocation import Schedule
from labkit.scenarios.access import KEPT, arrives_before
from labkit.scenarios.conformance import ILL, Question, Row, Seen, Subject
from labkit.scenarios.mutual_tls import FENCE, OBSERVER, VICTIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from labkit.mqtt import Session

OTHER = "sensor-002"
WEAK = "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0"
"""Suites without authenticated encryption."""


def ask_all(subjects: Sequence[Subject], *, progress: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Ask every broker every question.

    Args:
        subjects: The brokers.
        progress: Is told each question before it is asked.

    Raises:
        BrokerGoneError: One has died.
        RuntimeError: A broker refuses what is good, so that its refusals would say nothing.
    """
    rows = []
    for question in questions():
        progress(question.text)
        rows.append(Row(question, {subject.name: question.ask(subject) for subject in subjects}))
    return rows


def _outcome(outcome: Outcome) -> Seen:
    return Seen(outcome.accepted, "" if outcome.accepted else f"{outcome.stage}: {outcome.reason}")


def _comes_in(who: str, **how: Any) -> Callable[[Subject], Seen]:
    return lambda subject: _outcome(subject.attempt(who, **how))


def _intruder_comes_in(label: str) -> Callable[[Subject], Seen]:
    return lambda subject: _outcome(subject.attempt(subject.intruders[label]))


def _nobody_comes_in(subject: Subject) -> Seen:
    return _outcome(subject.attempt(None))


def _stranger_comes_in(subject: Subject) -> Seen:
    return _outcome(subject.attempt(subject.store.identity("stranger-001")))


def _resumes(subject: Subject) -> Seen:
    files = subject.device(VICTIM)
    returner = Returner(
        subject.endpoint, trust=subject.store.trust_anchor, tls="1.2",
        identity=Identity(files.certificate, files.key), protocol=V311, client_id=VICTIM,
    )  # fmt: skip
    first, again = returner.visit(), returner.visit()
    if not (first.accepted and again.accepted):
        text = f"{subject.name} refuses a good device: {first}, {again}"
        raise RuntimeError(text)
    return Seen(bool(again.detail["resumed"]))


def _revoked_before_reload(subject: Subject) -> Seen:
    return Seen(not subject.attempt(_revoked(subject)).accepted)


def _revoked_comes_in(subject: Subject) -> Seen:
    name = _revoked(subject)
    subject.reload()
    return _outcome(subject.attempt(name))


def _revoked(subject: Subject) -> str:
    """Return a device that was let in before it was revoked; its list is in place, and nobody has said reload."""
    name = f"gone-{secrets.token_hex(3)}"
    if not (before := subject.attempt(name)).accepted:
        text = f"{subject.name} refuses a device that is not revoked yet: {before}"
        raise RuntimeError(text)
    subject.put_list(subject.store.revocations.revoke(name).pem)
    return name


def _comes_in_past_a_stale_list(subject: Subject) -> Seen:
    past = SYSTEM_CLOCK.now() - dt.timedelta(days=3)
    schedule = Schedule(dt.timedelta(days=2), dt.timedelta(days=1))
    stale = issue_list(subject.store.authority(), [], number=1, now=past, schedule=schedule)
    good = subject.store.revocations.path.read_bytes()
    subject.put_list(stale.pem)
    subject.reload()
    try:
        return _outcome(subject.attempt(VICTIM))
    finally:
        subject.put_list(good)
        subject.reload()


def _victim_survives(subject: Subject) -> Seen:
    with subject.session(VICTIM) as victim:
        thief = subject.attempt(OTHER, client_id=VICTIM)
        seen = _speaks(subject, victim, f"devices/{VICTIM}/status")
    return Seen(seen.happened, "the other gets its own" if thief.accepted else f"the other: {thief.reason}")


def _is_operator(login: tuple[str, str]) -> Callable[[Subject], Seen]:
    def ask(subject: Subject) -> Seen:
        try:
            with subject.session(OTHER, login=login) as session:
                seen = _speaks(subject, session, f"devices/{VICTIM}/commands/open")
                return Seen(seen.happened, "comes in as itself" if not seen.happened else seen.told)
        except NotConnectedError as error:
            refused = error.outcome  # errors know no outcomes, by their floor
            return _outcome(refused) if isinstance(refused, Outcome) else Seen(happened=False)

    return ask


def _speaks(subject: Subject, session: Session, topic: str) -> Seen:
    """Publish in an open session, and judge by what the observer receives."""
    payload = secrets.token_hex(8)
    subject.observer  # noqa: B018 - it has to listen before anybody speaks
    try:
        session.publish(topic, payload)
        told = "acknowledged"
    except NotConnectedError:
        told = "hung up"
    arrived = subject.arrives(payload)
    return Seen(arrived, "" if arrived and told == "acknowledged" else told)


def _delivers(name: str, topic: str) -> Callable[[Subject], Seen]:
    def ask(subject: Subject) -> Seen:
        with subject.session(name) as session:
            return _speaks(subject, session, topic)

    return ask


def _hears(spy: str, pattern: str, victim: str) -> Callable[[Subject], Seen]:
    """Return who lets a device subscribe, sends a command to a device, and tells whether the first one hears it."""

    def ask(subject: Subject) -> Seen:
        payload, own = secrets.token_hex(8), f"devices/{spy}/commands/fence"
        subject.observer  # noqa: B018 - as above
        with subject.session(spy) as listener:
            try:
                listener.subscribe(f"devices/{spy}/commands/fence")
                listener.subscribe(pattern)
            except NotConnectedError:
                return Seen(happened=False, told="hung up")
            subject.observer.publish(f"devices/{victim}/commands/open", payload)
            heard = arrives_before(listener, subject.observer, payload, fence=own)
        if heard is None:
            text = f"{subject.name}: {spy} hears nothing at all, so that its silence proves nothing"
            raise RuntimeError(text)
        return Seen(heard, "" if heard else "granted, and silent")

    return ask


def _will_is_delivered(topic: str) -> Callable[[Subject], Seen]:
    """Return who dies with a last will on a topic, and then another who dies with one that must arrive."""

    def ask(subject: Subject) -> Seen:
        payload, control = secrets.token_hex(8), secrets.token_hex(8)
        observer = subject.observer
        for name, where, text in (
            (OTHER, topic, payload),
            ("sensor-003", "devices/sensor-003/status", control),
        ):
            with (
                suppress(NotConnectedError),
                subject.session(name, will=Will(where, text, retain=False)) as session,
            ):
                session.abandon()
        seen = set()
        while control not in seen and (message := observer.wait_for("#")) is not None:
            seen.add(message.payload.decode(errors="replace"))
        if control not in seen:
            text = f"{subject.name}: a will that is allowed was not delivered"
            raise RuntimeError(text)
        return Seen(payload in seen or subject.arrives(payload))

    return ask


def _finds_retained(pattern: str, *, here: bool) -> Callable[[Subject], Seen]:
    def ask(subject: Subject) -> Seen:
        topic, payload = f"devices/{VICTIM}/status", secrets.token_hex(8)
        with subject.session(VICTIM) as session:
            session.publish(topic, payload, retain=True)
        subject.close()  # its client id is needed
        with subject.session(OBSERVER, here=here) as late:
            late.subscribe(pattern)
            late.subscribe(FENCE)
            found = arrives_before(late, late, payload)
        with subject.session(VICTIM) as session:
            session.publish(topic, "", retain=True)
        return Seen(bool(found))

    return ask


def _command_waits(subject: Subject) -> Seen:
    payload, own = secrets.token_hex(8), f"devices/{VICTIM}/commands/#"
    with subject.session(VICTIM, keep=KEPT) as session:
        session.subscribe(own)
    subject.observer.publish(f"devices/{VICTIM}/commands/close", payload)
    with subject.session(VICTIM, keep=KEPT) as session:
        session.subscribe(own)
        fence = f"devices/{VICTIM}/commands/fence"
        waited = arrives_before(session, subject.observer, payload, fence=fence)
    with subject.session(VICTIM):
        pass  # begins afresh, so that nothing is kept for the next question
    return Seen(bool(waited))


@contextmanager
def _quarantined(subject: Subject) -> Iterator[tuple[str, Session]]:
    """Quarantine a device that is connected; yield its name, and the session that is still open."""
    name = f"{ILL}{secrets.token_hex(3)}"
    with subject.session(name) as session:
        if not _speaks(subject, session, f"devices/{name}/status").happened:
            text = f"{subject.name}: a device that is well is not heard"
            raise RuntimeError(text)
        subject.office.act(name, "quarantine", {"reason": "unspecified"})
        subject.put_list(subject.store.revocations.path.read_bytes())
        subject.reload()
        yield name, session


def _quarantined_comes_in(subject: Subject) -> Seen:
    with _quarantined(subject) as (name, _):
        pass  # one session a name; the old one ends first
    return _outcome(subject.attempt(name))


def _quarantined_speaks(rest: str) -> Callable[[Subject], Seen]:
    """Return what has a device in quarantine speak in its open session, and this before anything else."""

    def ask(subject: Subject) -> Seen:
        with _quarantined(subject) as (name, session):
            return _speaks(subject, session, f"devices/{name}/{rest}")

    return ask


def questions() -> list[Question]:
    """Return what every broker is asked, connections first."""
    own, status = f"devices/{VICTIM}", f"devices/{VICTIM}/status"
    return [
        Question("a device comes in with its certificate", "yes", _comes_in(VICTIM)),
        Question("the same under TLS 1.2", "yes", _comes_in(VICTIM, tls="1.2")),
        Question("somebody comes in without a certificate", "no", _nobody_comes_in),
        Question("… with one of another authority", "no", _intruder_comes_in("rogue")),
        Question("… with one that it signed itself", "no", _intruder_comes_in("self-signed")),
        Question("… with one that has run out", "no", _intruder_comes_in("expired")),
        Question("… with one that does not count yet", "no", _intruder_comes_in("not-yet-valid")),
        Question("… with a server's certificate", "no", _intruder_comes_in("server")),
        Question("… with one that was revoked", "no", _revoked_comes_in),
        Question("a revocation counts without a reload", "told", _revoked_before_reload),
        Question("a device comes in while the revocation list has run out", "no", _comes_in_past_a_stale_list),
        Question("a weak suite is agreed on", "no", _comes_in(VICTIM, tls="1.2", ciphers=WEAK)),
        Question("a session of TLS 1.2 is resumed without a look at the certificate", "told", _resumes),
        Question("MQTT 5 is spoken", "told", _comes_in(VICTIM, protocol=V5)),
        Question("a device that the registry does not have comes in", "told", _stranger_comes_in),
        Question("a device keeps its session when another claims its client id", "yes", _victim_survives),
        Question("a device becomes the operator by claiming that name", "no", _is_operator((OBSERVER, "x"))),
        Question("a device becomes guest, password guest", "no", _is_operator(("guest", "guest"))),
        Question("telemetry reaches the operator, at another node if there is one", "yes", _delivers(VICTIM, f"{own}/telemetry/t")),
        Question("a status reaches the operator", "yes", _delivers(VICTIM, status)),
        Question("a device speaks for another", "no", _delivers(OTHER, f"{own}/telemetry/t")),
        Question("a device commands itself", "no", _delivers(VICTIM, f"{own}/commands/x")),
        Question("a device speaks outside the devices' topics", "no", _delivers(VICTIM, "plant/all/stop")),
        Question("a dead device speaks for another by its last will", "no", _will_is_delivered(status)),
        Question("a dot in a topic is a slash", "told", _delivers(VICTIM, f"devices.{VICTIM}/status")),
        Question("a device hears its own commands", "yes", _hears(VICTIM, f"{own}/commands/#", VICTIM)),
        Question("a device hears another's commands", "no", _hears(OTHER, f"{own}/commands/#", VICTIM)),
        Question("… by asking for everything", "no", _hears(OTHER, "#", VICTIM)),
        Question("… by asking for every device's", "no", _hears(OTHER, "devices/+/commands/#", VICTIM)),
        Question("… by a wildcard of AMQP", "no", _hears(OTHER, "devices/*/commands/#", VICTIM)),
        Question("a command waits for a device that is away", "yes", _command_waits),
        Question("a status is kept for who asks for its topic later", "yes", _finds_retained(status, here=True)),
        Question("… at another node, if there is one", "told", _finds_retained(status, here=False)),
        Question("… with a wildcard", "told", _finds_retained("devices/+/status", here=True)),
        Question("a device in quarantine comes in again", "no", _quarantined_comes_in),
        Question("… speaks to a new topic in a session that is open", "no", _quarantined_speaks("telemetry/new")),
        Question("… goes on in a session that is open, on a topic that it has used", "told", _quarantined_speaks("status")),
    ]  # fmt: skip
