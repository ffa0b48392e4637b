"""The optional exercises of lesson start-here: a short life, a test that can't fail, a helpful colleague's broker."""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.broker import Broker, BrokerConfig
from labkit.broker.config import parse, render
from labkit.clock import SYSTEM_CLOCK
from labkit.course.lesson import Check, CheckResult
from labkit.course.shelf import Case, failed, handed_in, not_attempted, questioned, site_of
from labkit.errors import BrokerConfigError, BrokerStartError
from labkit.mqtt import Identity, probe
from labkit.outcome import Severity
from labkit.pki import IdentityFiles, Store, flawed
from labkit.pki.identities import read_certificate
from labkit.pki.lint import lint
from labkit.pki.template import common_name
from labkit.scenarios import Site
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from labkit.course.lab import Lab

# --- exercise 3: a short life ---------------------------------------------------------------------------------------

VISITOR = "visitor-001"
"""The device that is let in for a week."""

WEEK = dt.timedelta(days=7)


def _check_short_lived(lab: Lab) -> CheckResult:
    """Read the visitor's certificate, then knock with it, with a device of ours, and with nothing."""
    shelf = lab.workspace.path("answers", "start-here")
    files = Identity(shelf / "visitor.crt", shelf / "visitor.key")
    if not files.certificate.exists():
        return not_attempted("complete short_lived(), then run the cell below it")
    certificate = read_certificate(files.certificate)
    name = common_name(certificate.subject)
    if name != VISITOR:
        return failed(
            "other-name",
            f"a certificate for {name}",
            expected=f"one for {VISITOR}",
            advice="the device's id is the first argument of issue_device",
        )
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if life > WEEK + dt.timedelta(hours=1):  # what is issued here begins a few minutes before now
        return failed(
            "too-long",
            f"it is good for {life / dt.timedelta(days=1):.0f} days",
            expected="a week at most",
            advice="a profile has days; which one does issue_device take if you give none?",
        )
    wrong = [
        finding
        for finding in lint(certificate, role="device", now=SYSTEM_CLOCK.now())
        if finding.severity is not Severity.INFO
    ]
    if wrong:
        return failed(
            "something-else",
            f"{wrong[0].rule}: {wrong[0].message}",
            expected="a device's certificate as always, but for its life",
            advice="change one field of DEVICE, and leave the others as they are",
        )
    return _welcome(lab, files)


def _welcome(lab: Lab, files: Identity) -> CheckResult:
    site = site_of(
        lab,
        where="the broker of *Start the broker* must run while the check looks",
        again="run the cell with mutual_tls again",
    )
    if isinstance(site, CheckResult):
        return site
    visitor = probe(site.endpoint, trust=site.trust, identity=files)
    if not visitor.accepted:
        return failed(
            "not-let-in",
            f"the broker says to the visitor: {visitor}",
            expected="the broker lets the visitor in",
            advice="who has to sign it, and which key belongs to it?",
        )
    return CheckResult("passed", observed=f"{VISITOR} is in, and not for long")


# --- exercise 4: a test that can't fail -----------------------------------------------------------------------------

_IN = {"broker": "hall", "stage": "mqtt", "accepted": True, "reason": "accepted"}
_OUT = {"broker": "hall", "stage": "tls", "accepted": False, "reason": "no-certificate"}
_SHUT = {"broker": "hall", "stage": "mqtt", "accepted": False, "reason": "bad-user-name-or-password"}
_DEAD = {"broker": "hall", "stage": "tcp", "accepted": False, "reason": "connection-refused"}
_YARD, _HALL_2 = {"broker": "yard"}, {"broker": "hall-2"}

_RAN_OUT = {**_OUT, "reason": "certificate-expired"}
_DELIVERED = {**_IN, "stage": "authorised"}
_FORBIDDEN = {**_OUT, "stage": "authorised", "reason": "not-authorised"}
_WHY = "no-certificate"

PROOFS = tuple(
    Case(*row)
    for row in (
        ("the device is in, nobody is turned away", (_IN, _OUT, _WHY), True, "too-strict"),
        ("the broker refuses both", (_SHUT, _SHUT, "bad-user-name-or-password"), False, "control-forgotten"),
        ("the broker is switched off", (_DEAD, _DEAD, "connection-refused"), False, "control-forgotten"),
        ("the broker refuses both, each for its own reason", (_SHUT, _OUT, _WHY), False, "control-forgotten"),
        ("the device is in, the intruder too", (_IN, _IN, _WHY), False, "let-in"),
        ("somebody asked for a refusal called accepted", (_IN, _IN, "accepted"), False, "let-in"),
        ("refused, but later and for another reason", (_IN, _SHUT, _WHY), False, "any-reason"),
        ("refused because it ran out", (_IN, _RAN_OUT, _WHY), False, "any-reason"),
        ("somebody asked for a part of the reason", (_IN, _OUT, "certificate"), False, "any-reason"),
        ("somebody asked for the beginning of it", (_IN, _OUT, "no"), False, "any-reason"),
        (
            "somebody asked for more than the reason",
            (_IN, _OUT, "no-certificate-at-all"),
            False,
            "any-reason",
        ),
        (
            "refused because it ran out, as was said",
            (_IN, _RAN_OUT, "certificate-expired"),
            True,
            "too-strict",
        ),
        ("the device is in at another broker", (_IN | _YARD, _OUT, _WHY), False, "two-brokers"),
        ("the intruder was at the hall's neighbour", (_IN, _OUT | _HALL_2, _WHY), False, "two-brokers"),
        ("both at the yard", (_IN | _YARD, _OUT | _YARD, _WHY), True, "too-strict"),
        ("a message refused, one delivered", (_DELIVERED, _FORBIDDEN, "not-authorised"), True, "too-strict"),
    )
)
"""Reports of two attempts, and whether they prove what somebody says they prove."""


def _check_proves(lab: Lab) -> CheckResult:
    """Show the reader's function all reports."""
    return questioned(
        lab, "proves", PROOFS,
        expected="True where the control got in at the same broker and the intruder was refused for that reason, else False",
        looks={
            "too-strict": "does it ask for more than the three things? Compare with the text of the task",
            "control-forgotten": "a broker that refuses everybody: what does it prove?",
            "let-in": "who got in was not refused, whatever the reason is called",
            "any-reason": "refused is not enough; for which reason did somebody say it would be?",
            "two-brokers": "a control on one broker says nothing about another",
        },
        passed=f"{len(PROOFS)} reports, and you believe the right ones",
    )  # fmt: skip


# --- exercise 5: a helpful colleague --------------------------------------------------------------------------------


def helpful(store: Store, *, port: int = 8883) -> str:
    """Return the configuration of a colleague who wanted the device to get in, whatever it takes."""
    whole = configuration(store, store.workspace.path("broker"), port=port, require_certificate=False)
    listener = replace(whole.listeners[0], use_identity_as_username=None, use_username_as_clientid=None)
    return render(replace(whole, listeners=(listener,), allow_anonymous=True))


_MENDED = "a broker that asks for a certificate, takes the name from it, and is otherwise as it was"


def _check_mended(lab: Lab) -> CheckResult:
    """Let the reader's function mend the configuration, and try what comes out on a broker of the judge's own."""
    answer = handed_in(lab, "mend")
    if answer is None:
        return not_attempted("complete mend(), then run the cell below it")
    store = Store(lab.workspace)
    store.ensure_authority()
    before = helpful(store)
    (reply,) = answer.ask([[before]])
    if not isinstance(reply.value, str):
        return failed(
            "crashed" if reply.error else "no-text",
            reply.error[:120] or f"mend() returned {reply.value!r}"[:120],
            expected="the text of a configuration",
            advice="text.replace(…, …) returns a new text; return that",
        )
    try:
        config = parse(reply.value)
    except BrokerConfigError as error:
        return failed("unreadable", error.message, expected=_MENDED, advice=error.advice)
    return _careless(config, parse(before)) or _tried(store, config)


def _careless(config: BrokerConfig, before: BrokerConfig) -> CheckResult | None:
    """Return what the new configuration gives up that the old one had, or leaves open that the colleague opened."""
    listener, was = config.listeners[0], before.listeners[0]
    opened = {"listeners", "allow_anonymous"}
    names = {each.name for each in fields(config)} - opened
    strayed = sorted(name for name in names if getattr(config, name) != getattr(before, name))
    kept = {*listener.ciphers}
    for wrong, fault, observed, look in (
        (
            len(config.listeners) > 1 or (listener.host, listener.port) != (was.host, was.port),
            "another-door",
            f"{len(config.listeners)} listeners, the first on {listener.host}, port {listener.port}",
            "leave the line with listener as it is",
        ),
        (
            listener.tls_version not in {"tlsv1.2", "tlsv1.3"} or not kept or not kept <= {*was.ciphers},
            "weakened",
            f"tls_version {listener.tls_version} and {len(kept)} suites",
            "versions and suites were right",
        ),
        (
            config.allow_anonymous,
            "still-anonymous",
            "clients without a name are welcome",
            "who may be nameless here?",
        ),
        (
            listener.require_certificate is True
            and listener.use_identity_as_username is True
            and listener.use_username_as_clientid is not True,
            "any-client-id",
            "a client may call itself what it likes, and push another one off the line",
            "compare once more with what *Start the broker* printed",
        ),
        (
            bool(strayed),
            "something-else",
            f"{', '.join(strayed)}: not what it was",
            "leave all lines as they are that the colleague did not touch",
        ),
    ):
        if wrong:
            return failed(fault, observed, expected=_MENDED, advice=look)
    return None


def _tried(store: Store, config: BrokerConfig) -> CheckResult:
    """Start a broker with the configuration, and knock."""

    def make_config(port: int) -> BrokerConfig:
        return replace(config, listeners=(replace(config.listeners[0], port=port),))

    with tempfile.TemporaryDirectory(prefix="labkit-judge-") as folder:
        forged = flawed.rogue(store.authority(), "sensor-001")
        files = IdentityFiles("impostor", Path(folder) / "rogue.crt", Path(folder) / "rogue.key")
        write_atomic(files.certificate, forged.certificate_pem)
        write_atomic(files.key, forged.key_pem, secret=True)
        try:
            with Broker(Path(folder) / "broker", make_config) as broker:
                return _visited(Site(store, broker), files)
        except BrokerStartError as error:
            return failed("does-not-start", error.message, expected=_MENDED, advice=error.advice)


_LOOKS = {
    "nobody-gets-in": "which line makes the broker ask?",
    "impostor-gets-in": "whom does the broker believe?",
    "device-locked-out": "it shows a certificate; from where does the broker take its name?",
    "no-rules": "the rules go by the name; is it the right one?",
}


def _visited(site: Site, impostor: IdentityFiles) -> CheckResult:
    device = site.identity("sensor-001")
    for who, files, topic, wanted, fault in (
        ("nobody", None, None, "no-certificate", "nobody-gets-in"),
        ("the impostor", impostor, None, "unknown-ca", "impostor-gets-in"),
        ("sensor-001", device, "devices/sensor-001/status", "accepted", "device-locked-out"),
        ("sensor-001 as another", device, "devices/sensor-002/status", "not-authorised", "no-rules"),
    ):
        outcome = site.attempt(files, publish=topic)
        if outcome.reason != wanted:
            return failed(fault, f"{who}: {outcome}", expected=_MENDED, advice=_LOOKS[fault])
    return CheckResult(
        "passed", observed="nobody and the impostor are out, the device is in under its own name"
    )


MORE = (
    Check(
        "start-here.3",
        "a visitor's certificate is good for a week at most, and the broker lets the visitor in",
        (
            "issue_device takes a profile; DEVICE is the one that it takes by itself. Print it.",
            "dataclasses.replace(DEVICE, …) makes a copy in which one field is another.",
            "The field is days. store.authority() signs; renew=True lets you run the cell twice.",
        ),
        _check_short_lived,
        why="What ends by itself need not be taken back.",
        kind="tweak",
        required=False,
        minutes=4,
    ),
    Check(
        "start-here.4",
        "proves() believes the right reports, and no others",
        (
            "Three questions, and all of them must be answered with yes.",
            "Who has to get in? Where? And is there a reason to compare?",
            'control["accepted"], the two brokers, intruder["accepted"], and intruder["reason"] against reason.',
        ),
        _check_proves,
        why="A test that can't fail has ticked many a box.",
        kind="bug-hunt",
        required=False,
        minutes=5,
    ),
    Check(
        "start-here.5",
        "the mended configuration, tried on a broker: nobody and the impostor out, the device in under its own name",
        (
            "Compare it line by line with the configuration that *Start the broker* printed.",
            "Two lines were changed, and below the listener two are missing.",
            "A missing line can be added behind another one: text.replace(old, old + new).",
        ),
        _check_mended,
        why="Most brokers that let everybody in were opened by somebody who wanted to get one device in.",
        kind="defend-it",
        required=False,
        minutes=6,
    ),
)
"""The exercises that nothing later builds on."""
