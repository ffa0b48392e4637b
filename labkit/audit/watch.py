"""Try what is forbidden in open sessions, and look whether the log tells of it."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING

from labkit.audit.facts import Trial
from labkit.audit.monitor.events import service_event
from labkit.broker import LogFile
from labkit.broker.control import LOG
from labkit.clock import SYSTEM_CLOCK, Deadline
from labkit.errors import NotConnectedError
from labkit.mqtt import Endpoint, Identity, Session, delivered, open_session, probe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE = 3.0


def try_rights(
    endpoint: Endpoint, *, trust: Path, operator: Identity, devices: Mapping[str, Identity], fence: str
) -> list[Trial]:
    """Write and read as one device in another's topics, and judge by what arrives.

    Args:
        endpoint: A door that lets the devices in.
        trust: The root that clients believe.
        operator: Who may read everything, and write the fence.
        devices: Two devices by name; the first one does what it should not.
        fence: A topic that the operator may write and read.
    """
    (one, attacker), (other, victim) = list(devices.items())[:2]
    trials = []
    with ExitStack() as sessions:

        def session(identity: Identity, name: str) -> Session:
            return sessions.enter_context(
                open_session(endpoint, trust=trust, identity=identity, client_id=name)
            )

        try:
            observer = session(operator, "labkit-observer")
            observer.subscribe("#")
            publisher = session(attacker, one)
            reader = session(victim, other)
            reader.subscribe("#")
        except NotConnectedError as error:
            return [Trial("the observer and two devices open a session", True, False, str(error.outcome))]  # noqa: FBT003
        topics = {
            f"devices/{one}/telemetry/audit": True,
            f"devices/{other}/telemetry/audit": False,
            f"devices/{other}/commands/audit": False,
            "audit/elsewhere": False,
        }
        for topic, wanted in topics.items():
            outcome = delivered(publisher, observer, topic, secrets.token_hex(4), fence=fence)
            trials.append(Trial(f"{one} writes {topic}", wanted, outcome.accepted, outcome.reason))
        overheard = [message.topic for message in reader.messages if message.topic.split("/")[1:2] != [other]]
        trials.append(Trial(
            f"{other} subscribes to # and hears what {one} writes", wanted=False, succeeded=bool(overheard),
            detail=", ".join(overheard[:3]),
        ))  # fmt: skip
    return trials


def try_logging(endpoint: Endpoint, folder: Path, *, trust: Path, device: Identity, name: str) -> list[Trial]:
    """Be refused at the door and for a message, and look for the lines in the broker's log.

    Args:
        endpoint: A door that lets the device in.
        folder: The broker's folder, with its log.
        trust: The root that clients believe.
        device: A device.
        name: Its name.
    """
    log = LogFile(folder / LOG)
    found = []
    mark = log.mark()
    shut = probe(endpoint, trust=trust)
    wanted = {"tls-error", "accept-failed"} if shut.stage == "tls" else {"disconnected"}
    line = log.wait_for(lambda event: event.kind in wanted, since=mark, timeout=PATIENCE)
    what = "a client without a certificate leaves a line in the broker's log"
    found.append(
        Trial(what, wanted=True, succeeded=line is not None, detail=line.text if line else str(shut))
    )
    mark, topic = log.mark(), f"labkit/canary/{secrets.token_hex(8)}"
    denied = probe(endpoint, trust=trust, identity=device, client_id=name, publish=topic)
    event = log.wait_for(
        lambda event: event.kind == "denied" and event["topic"] == topic, since=mark, timeout=PATIENCE
    )
    what = "a message that the rules forbid leaves a line in the broker's log"
    found.append(Trial(what, wanted=True, succeeded=event is not None, detail="" if event else str(denied)))
    return found


def try_decisions(path: Path, before: int) -> Trial:
    """Look whether a service's log of decisions tells of a refusal since it refused us."""
    deadline, now = Deadline(PATIENCE), SYSTEM_CLOCK.now()
    while True:
        lines = LogFile(path).lines(before)
        events = [event for line in lines if (event := service_event(line, seen_at=now))]
        grown = any(event.kind == "service-refused" for event in events)
        if grown or deadline.passed:
            what = "a caller who was refused leaves a line in the service's log of decisions"
            return Trial(what, wanted=True, succeeded=grown)
        deadline.pause()
