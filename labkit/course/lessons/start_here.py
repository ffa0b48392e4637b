"""Lesson start-here: from nothing to five intruders turned away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course.lab import running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.start_here_exercises import MORE
from labkit.course.lessons.start_here_questions import QUESTIONS, READY
from labkit.course.shelf import failed, laid, not_attempted
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import Store, describe
from labkit.pki.identities import read_certificate
from labkit.pki.openssl import verify

if TYPE_CHECKING:
    from labkit.course.lab import Lab
    from labkit.outcome import Outcome

_LAYERS = {
    "in": "it gets in",
    "tcp": "refused at tcp",
    "tls": "refused at tls",
    "mqtt": "refused at mqtt",
}
_TLS_FEEDBACK = {
    "in": "It did not get in. A broker that asks for a certificate judges it before anything else.",
    "tcp": "The port is open for everybody: TCP knows no certificates.",
    "mqtt": "MQTT begins only when the handshake has come to an end; this one did not.",
}

CLAIMS = (
    Claim("device-delivers", "A device with a certificate delivers its message.", "authorised"),
    Claim("nobody-refused", "Who has no certificate is refused.", "tls", "no-certificate", "nobody"),
    Claim(
        "impostor-refused",
        "An authority with our names and another key vouches for nobody.",
        "tls",
        "unknown-ca",
        "impostor",
    ),
    Claim(
        "expired-refused", "A certificate that ran out is refused.", "tls", "certificate-expired", "expired"
    ),
    Claim(
        "server-refused", "A server's certificate is no use to a client.", "tls", "wrong-purpose", "server"
    ),
    Claim("self-signed-refused", "Nobody can vouch for himself.", "tls", "unknown-ca", "self-signed"),
    Claim("device-still-in", "The broker that refused five intruders lets the device in.", "authorised"),
    Claim(
        "vacuous-nobody",
        "A broker that asks for no certificate also refuses who has none, but later and for another reason.",
        "mqtt",
        "bad-user-name-or-password",
    ),
    Claim(
        "vacuous-device",
        "That broker refuses our own device for the same reason, so its refusals prove nothing.",
        "mqtt",
        "bad-user-name-or-password",
    ),
)

PREDICTIONS = (
    Prediction(
        "nobody", "Nobody knocks: no certificate at all. What happens?", _LAYERS, "tls", _TLS_FEEDBACK
    ),
    Prediction(
        "impostor",
        "The impostor's chain carries our names and another key. What happens?",
        _LAYERS,
        "tls",
        {
            **_TLS_FEEDBACK,
            "in": "It did not get in. Names are text that anybody can write; only a signature counts.",
        },
    ),
    Prediction(
        "expired", "Expired: a device of ours, one day too late. What happens?", _LAYERS, "tls", _TLS_FEEDBACK
    ),
    Prediction(
        "server",
        "Server: the broker's own certificate, stolen, with its key. What happens?",
        _LAYERS,
        "tls",
        {
            **_TLS_FEEDBACK,
            "in": "It did not get in: a certificate has a purpose, and this one's is to be a server.",
        },
    ),
    Prediction(
        "self-signed", "Self-signed: it vouches for itself. What happens?", _LAYERS, "tls", _TLS_FEEDBACK
    ),
)


def _attempt(lab: Lab, identity: Identity | None, *, tls: str | None = None) -> Outcome | None:
    running = running_broker(lab)
    if running is None:
        return None
    return probe(
        Endpoint(running.host, running.port),
        trust=Store(lab.workspace).trust_anchor,
        identity=identity,
        tls=tls,
    )


def _device(lab: Lab) -> Identity:
    files = Store(lab.workspace).device("sensor-001")
    return Identity(files.certificate, files.key)


_NO_BROKER = failed(
    "no-broker",
    "no broker is running in this lab",
    expected="the broker of *Start the broker* must run while the check looks",
    advice="run the cell with mutual_tls again",
)
_SICK_BROKER = failed(
    "sick-broker",
    "the broker refuses sensor-001 too",
    expected="a broker that lets the device in: without that, no refusal proves anything",
    advice="lab.reset(), then run the cells from the top",
)
_OPEN_BROKER = failed(
    "open-broker",
    "the broker does not turn away, during TLS, who has no certificate",
    expected="the lesson's broker, which asks everybody for a certificate",
    advice="lab.reset(), then run the cells from the top",
)
_MISHEARD = {"sensor-001": "device-misheard", "nobody": "nobody-misheard", "nobody, TLS 1.2": "old-misheard"}


def _check_knock(lab: Lab) -> CheckResult:
    """Knock again, and compare with what the reader wrote down."""
    try:
        heard = laid(lab, "knock.json")
    except FileNotFoundError:
        return not_attempted("complete knock(), then run the cells below it")
    control, nobody, old = _attempt(lab, _device(lab)), _attempt(lab, None), _attempt(lab, None, tls="1.2")
    if control is None or nobody is None or old is None:
        return _NO_BROKER
    if not control.accepted:
        return _SICK_BROKER
    if nobody.stage != "tls" or old.stage != "tls":
        return _OPEN_BROKER
    expected = {
        "sensor-001": "silence",
        "nobody": nobody.detail.get("client_error"),
        "nobody, TLS 1.2": old.detail.get("client_error"),
    }
    if not isinstance(heard, dict):
        heard = {}
    for name, words in expected.items():
        if heard.get(name) != words:
            return failed(
                _MISHEARD[name],
                f"for {name} you heard {heard.get(name)!r}, and our own knock heard something else",
                expected="what the broker really says, or 'silence' where it waits for us to speak",
                advice="read before you write, give the broker a second, and return the reason of the SSLError",
            )
    return CheckResult("passed", observed="three knocks, and ours heard the same")


def _check_impostor(lab: Lab) -> CheckResult:
    """Look at the impostor's certificate, then see whether the broker falls for it."""
    certificate, key = (lab.workspace.path("intruders", f"impostor.{suffix}") for suffix in ("crt", "key"))
    if not certificate.exists():
        return not_attempted("complete forge(), then run the cell below it")
    store = Store(lab.workspace)
    forged = describe(read_certificate(certificate))
    true = describe(store.certificate("sensor-001"))
    if (forged.subject, forged.issuer) != (true.subject, true.issuer):
        return failed(
            "other-names",
            f"a certificate for {forged.subject}, issued by {forged.issuer}",
            expected=f"one for {true.subject}, issued by {true.issuer}: the same names to the letter",
            advice="store.names has the names of both authorities",
        )
    if verify(certificate, trust=store.trust_anchor, untrusted=store.intermediate).ok:
        return failed(
            "signed-by-ours",
            "a certificate that our own authority signed",
            expected="one from an authority with a key of its own",
            advice="Authority.new_root makes a key; store.authority() is ours",
        )
    control, intruder = _attempt(lab, _device(lab)), _attempt(lab, Identity(certificate, key))
    if control is None or intruder is None:
        return _NO_BROKER
    if not control.accepted:
        return _SICK_BROKER
    if intruder.reason != "unknown-ca":
        return failed(
            "other-reason",
            f"the broker says: {intruder}",
            expected="a refusal because the authority is unknown",
            advice="is the certificate still valid, for clients, and from an authority that names a key of its own?",
        )
    return CheckResult("passed", observed="same names, another key, and the broker was not impressed")


CHECKS = (
    Check(
        "start-here.1",
        "your knock hears what the broker says to nobody, under TLS 1.3 and 1.2, and to the device",
        (
            "Two context managers: one for the TCP connection, one for the TLS wrapped around it.",
            "After the handshake, tls.recv(1) waits for one byte. Nobody sends one; an alert arrives instead.",
            "Catch TimeoutError (silence) and ssl.SSLError (its reason). Under TLS 1.2 wrap_socket raises it already.",
        ),
        _check_knock,
        why="Who can't tell silence from a refusal takes a broken door for a guarded one.",
        kind="fill-in",
        minutes=6,
    ),
    Check(
        "start-here.2",
        "the impostor carries our names, has another key, and is refused because its authority is unknown",
        (
            "You need two authorities, one below the other, as we have.",
            "store.names.root and store.names.intermediate are the names to take.",
            "new_root(…) gives an authority; its new_intermediate(…) another; return that one's issue_device(…).",
        ),
        _check_impostor,
        why="A name is text that anybody can write; what counts is whose key signed it.",
        kind="break-it",
        minutes=4,
    ),
    *MORE,
)

LESSON = Lesson(
    slug="start-here",
    title="Start here: turn five intruders away",
    minutes=20,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"ready": READY, "questions": QUESTIONS},
)
