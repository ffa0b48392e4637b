"""Lesson revocation: a stolen device is turned away, the session that it has is silenced, and lists that run out."""

from __future__ import annotations

import datetime as dt
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from labkit.broker import acl as rules
from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import ready_authority, running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.revocation_exercises import MORE
from labkit.course.lessons.revocation_questions import QUESTIONS
from labkit.course.shelf import Case, failed, not_attempted, questioned
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import (
    DEVICE,
    Authority,
    IdentityFiles,
    Reason,
    Revocation,
    Store,
    flawed,
    issue_list,
    look_up,
)
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.lab import Lab
    from labkit.outcome import Outcome

RETIRED = "sensor-010"
"""The device of the second exercise."""

EIGHT_DAYS = dt.timedelta(days=8)
"""A list counts for seven."""

CLAIMS = (
    Claim("thief-in", "A stolen identity is as good as the real one.", "authorised"),
    Claim("not-told", "A list that the broker was not told of changes nothing.", "mqtt"),
    Claim(
        "revoked-refused",
        "A broker that goes by the list refuses the thief.",
        "tls",
        "certificate-revoked",
    ),
    Claim("honest-in", "The list takes one device and spares a healthy one.", "authorised"),
    Claim(
        "unread-list",
        "A new list counts for nothing until the broker reads it.",
        "mqtt",
        "accepted",
        "reload",
    ),
    Claim("read-list", "From the reload on a new list counts.", "tls", "certificate-revoked"),
    Claim(
        "lives-on",
        "A session that is open outlives the revocation of its certificate.",
        "authorised",
        "accepted",
        "session",
    ),
    Claim(
        "silenced", "A rule silences the open session at its next message.", "authorised", "not-authorised"
    ),
    Claim("silenced-control", "Under the same rules the operator still speaks.", "authorised"),
    Claim(
        "stale-locks-out",
        "A list that has run out locks out devices that nobody revoked.",
        "tls",
        "revocation-list-stale",
        "stale",
    ),
    Claim("stale-control", "The same device is let in by the broker with a fresh list.", "mqtt"),
    Claim(
        "wrong-issuer",
        "With the list of another issuer alone the broker knows nobody.",
        "tls",
        "revocation-list-missing",
    ),
    Claim(
        "ticket-full", "An expired certificate is refused at a full handshake.", "tls", "certificate-expired"
    ),
    Claim(
        "ticket-resumed",
        "The same certificate comes back in on a ticket.",
        "authorised",
        "accepted",
        "ticket",
    ),
    Claim(
        "ticket-worthless",
        "Where the broker goes by a list, a reload makes tickets worthless.",
        "tls",
        "certificate-expired",
    ),
    Claim(
        "no-ticket",
        "A broker that hands out no tickets looks at the certificate each time.",
        "tls",
        "certificate-expired",
    ),
    Claim(
        "intermediate-unseen",
        "Mosquitto does not look up whether the intermediate was revoked.",
        "mqtt",
        "accepted",
        "intermediate",
    ),
    Claim(
        "intermediate-closed",
        "Without the old intermediate's list, all that it signed is refused.",
        "tls",
        "unknown-ca",
    ),
)

_IN_OR_NOT = {
    "in": "it gets in",
    "tls": "refused during TLS",
    "mqtt": "refused by MQTT",
}

PREDICTIONS = (
    Prediction(
        "reload",
        "The list on disk has the thief on it. The broker runs. When does the thief notice?",
        {
            "now": "at the next connection",
            "reload": "at the first connection after a reload",
            "restart": "after a restart only",
        },
        "reload",
        {
            "now": "Mosquitto read the file when it started, and reads it again only when it is told to.",
            "restart": "A reload (SIGHUP) is enough: it reads the list, the certificate and the rules again.",
        },
    ),
    Prediction(
        "session",
        "The thief is connected while we revoke and reload. What happens to the open session?",
        {
            "cut": "the broker hangs up",
            "on": "it goes on as if nothing had happened",
            "quiet": "it stays open and is heard no more",
        },
        "on",
        {
            "cut": "A certificate is looked at during the handshake, and that is over.",
            "quiet": "Nothing in TLS or MQTT makes it quiet. You will have to.",
        },
    ),
    Prediction(
        "stale",
        "Nobody renewed the list for eight days; it was good for seven. A healthy device connects. What happens?",
        _IN_OR_NOT,
        "tls",
        {
            "in": "That would be the comfortable answer: OpenSSL would rather lock everybody out than miss a revocation.",
            "mqtt": "MQTT knows nothing of lists. The verdict falls in the handshake.",
        },
    ),
    Prediction(
        "ticket",
        "A device's certificate has run out. It has a TLS ticket from yesterday. What happens?",
        _IN_OR_NOT,
        "in",
        {
            "tls": "A resumed session shows no certificate, so there is none to be looked at.",
            "mqtt": "MQTT asks for a user name, and the ticket brings the one from yesterday.",
        },
    ),
    Prediction(
        "intermediate",
        "The root has revoked the intermediate, and the broker has both lists. A device below it connects.",
        _IN_OR_NOT,
        "in",
        {
            "tls": "So it should be. Mosquitto asks OpenSSL to look up the leaf, and nothing above it.",
            "mqtt": "MQTT knows nothing of intermediates.",
        },
    ),
)


def make_lists(lab: Lab) -> tuple[bytes, dict[str, bytes]]:
    """Make the lists of the first exercise, one of them hostile; `sensor-008` is on each of them.

    Returns:
        The certificate of the authority that they should be from, and the lists by name: `ours`, `stale`, `forged`.
    """
    store = Store(lab.workspace)
    store.issue_device("sensor-008", renew=True)
    now, serial = SYSTEM_CLOCK.now(), store.certificate("sensor-008").serial_number
    twin = Authority.new_root(store.names.root).new_intermediate(store.names.intermediate)
    lists = {
        "ours": _list(store.authority(), [serial], now),
        "stale": _list(store.authority(), [serial], now - EIGHT_DAYS),
        "forged": _list(twin, [serial], now),
    }
    return store.certificate("intermediate").public_bytes(Encoding.PEM), lists


def _list(authority: Authority, serials: Sequence[int], now: dt.datetime) -> bytes:
    gone = [
        Revocation(f"{serial:x}", f"sensor-{serial:x}", now, Reason.SUPERSEDED, now + dt.timedelta(days=300))
        for serial in serials
    ]
    return issue_list(authority, gone, number=1, now=now).pem


def judged_cases() -> list[Case]:
    """Return lists of an authority that nobody has seen, with a question about each, and what labkit says to it."""
    now = SYSTEM_CLOCK.now().replace(microsecond=0)
    ours, twin = (Authority.new_root("Root CA").new_intermediate("Device CA") for _ in range(2))
    first, last, other = (secrets.randbits(150) for _ in range(3))
    old, later = now - EIGHT_DAYS, now + EIGHT_DAYS
    hour = dt.timedelta(hours=1)  # a list is older than the question
    fresh, forged = _list(ours, [first, last], now - hour), _list(twin, [first], now - hour)
    stale, forged_and_stale = _list(ours, [first], old - hour), _list(twin, [first], old - hour)
    issuer = ours.certificate.public_bytes(Encoding.PEM)
    return [
        Case(
            about,
            (listed, issuer, serial, at.timestamp()),
            look_up(listed, issuer=ours.certificate, serial=serial, now=at),
            fault,
        )
        for about, listed, serial, at, fault in (
            ("a list of ours, and a number that is on it", fresh, first, now, "revoked-missed"),
            ("the last number on it", fresh, last, now, "revoked-missed"),
            ("a number that is not on it", fresh, other, now, "not-on-it"),
            ("a list of ours with nobody on it", _list(ours, [], now - hour), first, now, "not-on-it"),
            ("a list that has run out, and a number on it", stale, first, now, "stale-believed"),
            ("a list that has run out, and a number not on it", stale, other, now, "stale-believed"),
            ("the same list, asked about eight days ago", stale, first, old, "own-clock"),
            ("a list of today, asked about in eight days", fresh, first, later, "own-clock"),
            ("a forged list, and a number on it", forged, first, now, "forged-believed"),
            ("a forged list, and a number not on it", forged, other, now, "forged-believed"),
            ("a forged list that has run out", forged_and_stale, first, now, "time-first"),
        )
    ]


def _check_judge(lab: Lab) -> CheckResult:
    """Show the reader's judge lists that it has not seen."""
    return questioned(
        lab, "judge", judged_cases(),
        expected="the signature first, then the time, and only then the serial number",
        looks={
            "revoked-missed": "one of the four words, and no other; what does crl say of the serial number?",
            "not-on-it": "who is not on the list is good",
            "stale-believed": "next_update_utc has an end",
            "own-clock": "which time is meant: yours, or the one that you are given?",
            "forged-believed": "the key in ca made the signature, or it did not",
            "time-first": "what is a date worth in a list that anybody may have written?",
        },
        passed="eleven lists and questions, and labkit says the same",
    )  # fmt: skip


def _check_retire(lab: Lab) -> CheckResult:
    """Look at the register, at the broker's rules, and at what the broker does."""
    store = Store(lab.workspace)
    serial = f"{store.certificate(RETIRED).serial_number:x}" if RETIRED in store.devices() else ""
    running = running_broker(lab)
    if not serial or serial not in store.revocations.revoked():
        return not_attempted(f"complete retire(), then run the cell below it: {RETIRED} is not revoked")
    if running is None:
        return failed(
            "no-broker",
            "no broker is running in this lab",
            expected="the broker of *Tell the broker*",
            advice="run its cell again",
        )
    if (
        rules.Rule("deny", "#", user=RETIRED)
        not in rules.parse((running.folder / "acl.conf").read_text()).rules
    ):
        return failed(
            "may-speak",
            f"{RETIRED} is on the list, and a session that it has open may still speak",
            expected="the rules to take everything from it",
            advice="what took every right from sensor-012 while it was connected?",
        )
    control = _attempt(lab, running, "sensor-001", publish="devices/sensor-001/status")
    retired, heard = _attempt(lab, running, RETIRED), _as_if_open(lab, running)
    if not control.accepted:
        return failed(
            "healthy-locked-out",
            f"the broker says to sensor-001: {control}",
            expected="a broker that lets healthy devices in",
            advice="lab.reset(), then run the cells from the top",
        )
    if retired.detail.get("alert") != "certificate_revoked":
        return failed(
            "not-in-force",
            f"{RETIRED} is on the list, and the broker says to it: {retired}",
            expected="a broker that goes by the list that you made",
            advice="the list on disk is new; who has told the broker?",
        )
    if heard.reason != "not-authorised":
        return failed(
            "may-speak",
            f"the rules on disk take everything from {RETIRED}, and the broker says to a message of its: {heard}",
            expected="rules that the broker goes by, not only its file",
            advice="when did the broker read that file, and when was it written?",
        )
    return CheckResult("passed", observed="on the list, refused for that, silenced, and sensor-001 is in")


def _attempt(
    lab: Lab, running: Any, name: str, files: IdentityFiles | None = None, *, publish: str | None = None
) -> Outcome:
    files = files or Store(lab.workspace).device(name)
    return probe(
        Endpoint(running.host, running.port),
        trust=Store(lab.workspace).trust_anchor,
        identity=Identity(files.certificate, files.key),
        publish=publish,
    )


def _as_if_open(lab: Lab, running: Any) -> Outcome:
    """Return what the broker says to a message of the retired device, with a certificate that is on no list.

    A session that was open before can't be opened again; to the rules this one is the same.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-judge-") as folder:
        issued = flawed.craft(
            Store(lab.workspace).authority(), RETIRED, profile=DEVICE, start=SYSTEM_CLOCK.now()
        )
        files = IdentityFiles(RETIRED, Path(folder) / "fresh.crt", Path(folder) / "fresh.key")
        write_atomic(files.certificate, issued.chain_pem)
        write_atomic(files.key, issued.key_pem, secret=True)
        return _attempt(lab, running, RETIRED, files, publish=f"devices/{RETIRED}/status")


CHECKS = (
    Check(
        "revocation.1",
        "your judge says what labkit says of lists that it has not seen, forged ones and stale ones among them",
        (
            "Three questions, in this order: is it our authority's? does it still count? is the number on it?",
            "crl.is_signature_valid(key) answers the first, with the key of the certificate in ca. next_update_utc.timestamp() helps with the second.",
            "crl.get_revoked_certificate_by_serial_number(serial) returns None for a number that is not on it.",
        ),
        _check_judge,
        why="A list that anybody can forge, or hold back, revokes nobody.",
        kind="fill-in",
        minutes=8,
    ),
    Check(
        "revocation.2",
        f"{RETIRED} is on the list, the broker refuses it for that, its rights are gone, and sensor-001 is in",
        (
            "Three things must happen: on record, in force, silenced.",
            "store.revocations.revoke(…) puts it on record. Two functions that this lesson has imported do the rest.",
            "enforce(site) has the broker read the list and proves it; silence(site, name) is for the open session.",
        ),
        _check_retire,
        why="A device that is revoked on paper alone goes on sending.",
        kind="defend-it",
        minutes=6,
    ),
    *MORE,
)

LESSON = Lesson(
    slug="revocation",
    title="Revoke: take a stolen device out of service",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
