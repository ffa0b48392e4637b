"""Lesson start-here: from nothing to five intruders turned away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit.course.lab import running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction, Question
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import Store, describe
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

READY = (
    Question(
        "What does `ls -l ca.key` show for a file that only its owner may read and write?",
        (
            ("-rw-------", True, "Yes: mode 0600."),
            ("-rw-r--r--", False, "Everybody may read that one. Read: file modes, `man chmod`."),
            ("-rwx------", False, "That is a program of its owner's. Read: file modes, `man chmod`."),
        ),
    ),
    Question(
        "What is at 127.0.0.1?",
        (
            (
                "This computer, reached through itself",
                True,
                "Yes: the loopback address. It never leaves the machine.",
            ),
            (
                "The router",
                False,
                "A router has an address in your network, often ending in .1. Read: loopback.",
            ),
            (
                "Whichever computer has that address",
                False,
                "Every computer has it, for itself. Read: loopback.",
            ),
        ),
    ),
    Question(
        "A server listens on TCP port 8883. What must a client know to reach it?",
        (
            ("Its address and the port", True, "Yes, both."),
            ("Its address; the port follows", False, "One machine has 65,535 ports. Read: TCP ports."),
            ("Its MAC address", False, "That is for the local network's frames. Read: TCP ports."),
        ),
    ),
    Question(
        "In MQTT, who receives a message?",
        (
            ("Every client subscribed to a matching topic", True, "Yes, and the broker hands it on."),
            (
                "The client that it is addressed to",
                False,
                "Messages go to topics, not to clients. Read: MQTT publish and subscribe.",
            ),
            ("All clients", False, "Only those who subscribed. Read: MQTT publish and subscribe."),
        ),
    ),
    Question(
        "Which topics does the filter `devices/+/status` match?",
        (
            ("devices/a/status", True, "Yes: + stands for exactly one level."),
            ("devices/a/b/status", False, "That has two levels where + stands. Read: MQTT topic filters."),
            ("devices/status", False, "+ needs a level to stand for. Read: MQTT topic filters."),
        ),
    ),
    Question(
        "You have somebody's public key. What can you do with it?",
        (
            ("Check a signature that the owner made", True, "Yes, and encrypt for the owner."),
            (
                "Sign in the owner's name",
                False,
                "For that you need the private key. Read: public-key cryptography.",
            ),
            (
                "Work out the private key",
                False,
                "If that were possible, none of this would work. Read: public-key cryptography.",
            ),
        ),
    ),
    Question(
        "Two files have the same SHA-256 hash. What follows?",
        (
            (
                "For all practical purposes they are the same file",
                True,
                "Yes: nobody knows two different ones.",
            ),
            (
                "They have the same length, nothing more",
                False,
                "The hash is 32 bytes whatever the length. Read: cryptographic hashes.",
            ),
            (
                "They were made by the same person",
                False,
                "A hash knows no author; a signature does. Read: cryptographic hashes.",
            ),
        ),
    ),
    Question(
        "What does `with open('a') as file:` promise in Python?",
        (
            (
                "The file is closed at the end, also after an error",
                True,
                "Yes. Our brokers stop the same way.",
            ),
            ("The file exists", False, "It raises if there is none. Read: context managers."),
            ("Nobody else writes to it", False, "That takes a lock. Read: context managers."),
        ),
    ),
    Question(
        "In a notebook, which order of cells counts?",
        (
            (
                "The order in which you ran them",
                True,
                "Yes: the kernel remembers, whatever the page looks like.",
            ),
            ("From top to bottom, always", False, "Only after Restart and Run All. Read: notebook kernels."),
            (
                "It does not matter",
                False,
                "A cell that uses a name needs the cell that made it. Read: notebook kernels.",
            ),
        ),
    ),
    Question(
        "You want to try an attack from this course on your neighbour's camera. What do you need?",
        (
            ("The neighbour's permission, in writing", True, "Yes, and before you start."),
            ("A VPN", False, "That hides you and makes nothing lawful. Read: the rules of engagement above."),
            (
                "To be careful not to break anything",
                False,
                "Access without permission is the offence. Read: the rules of engagement above.",
            ),
        ),
    ),
)

QUESTIONS = (
    Question(
        "Why was the impostor refused although every name in its chain was right?",
        (
            ("No signature in its chain leads to our root's key", True, "Yes: keys vouch, names only label."),
            (
                "The broker knows the names of all devices",
                False,
                "It has no such list; it never saw sensor-001 before today.",
            ),
            ("Its certificate had expired", False, "It was fresh; the alert would have been another."),
        ),
    ),
    Question(
        "A probe says: refused at mqtt, not-authorised. What has certainly worked?",
        (
            ("The TLS handshake", True, "Yes: mqtt comes after tls."),
            (
                "The check of a client certificate",
                False,
                "The careless broker refused at mqtt and never asked for one.",
            ),
            ("Nothing, it was refused", False, "The stage says how far it came: tcp and tls are behind it."),
        ),
    ),
    Question(
        "The stolen server certificate was signed by our own authority. Why was it refused as a client?",
        (
            ("Its extended key usage says serverAuth only", True, "Yes: the purpose is wrong."),
            (
                "The broker noticed that it was its own",
                False,
                "It never compares. A second server's certificate would be refused as well.",
            ),
            ("Servers have no private key", False, "They have, and the intruder had stolen it too."),
        ),
    ),
    Question(
        "You see the alert unknown_ca and nothing else. What do you know?",
        (
            ("The chain doesn't lead to a root that the broker trusts", True, "Yes, and no more than that."),
            ("Somebody forged our authority", False, "A self-signed certificate gives the same alert."),
            (
                "The client forgot its certificate",
                False,
                "That is certificate_required (TLS 1.3) or handshake_failure (TLS 1.2).",
            ),
        ),
    ),
    Question(
        "A test tries one connection without a certificate and it is refused. What is missing?",
        (
            (
                "A connection that is accepted by the same broker, and the reason of the refusal",
                True,
                "Yes: both. A dead broker passes the test otherwise.",
            ),
            ("Nothing", False, "The careless broker would have passed this test."),
            ("More intruders", False, "A broker that refuses everybody refuses them all."),
        ),
    ),
    Question(
        "Which key must never be on the broker's machine?",
        (
            ("The root's private key", True, "Yes: with it one can make any identity."),
            ("The broker's private key", False, "It needs that to prove who it is."),
            ("The root's public key", False, "It is in ca.crt, and the broker needs it."),
        ),
    ),
    Question(
        "Under TLS 1.3 a client library reports a finished handshake. Was the client accepted?",
        (
            ("Not known yet: the refusal may still be on its way", True, "Yes: wait for CONNACK."),
            ("Yes", False, "Intruder one finished its handshake too."),
            (
                "No, TLS 1.3 refuses first",
                False,
                "It is TLS 1.2 in which the refusal comes during the handshake.",
            ),
        ),
    ),
    Question(
        "How did we know that the temperature really went through?",
        (
            ("The observer received it", True, "Yes: delivery is the proof."),
            (
                "The publisher got no error",
                False,
                "With MQTT 3.1.1 a forbidden publish gets no error either.",
            ),
            ("The broker's log shows the connection", False, "Connected is not yet allowed to publish."),
        ),
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


_NO_BROKER = CheckResult(
    "failed",
    have="no broker is running in this lab",
    asked="the broker of *Start the broker* must run while the check looks",
    look="run the cell with mutual_tls again",
)
_SICK_BROKER = CheckResult(
    "failed",
    have="the broker refuses sensor-001 too",
    asked="a broker that lets the device in: without that, no refusal proves anything",
    look="lab.reset(), then run the cells from the top",
)


def _check_knock(lab: Lab) -> CheckResult:
    """Knock again, and compare with what the reader wrote down."""
    try:
        heard: Any = lab.workspace.read_json("answers/start-here/knock.json")
    except FileNotFoundError:
        return CheckResult("not-attempted", asked="complete knock(), then run the cells below it")
    control, nobody, old = _attempt(lab, _device(lab)), _attempt(lab, None), _attempt(lab, None, tls="1.2")
    if control is None or nobody is None or old is None:
        return _NO_BROKER
    if not control.accepted:
        return _SICK_BROKER
    expected = {
        "sensor-001": "silence",
        "nobody": nobody.detail.get("client_error"),
        "nobody, TLS 1.2": old.detail.get("client_error"),
    }
    if not isinstance(heard, dict):
        heard = {}
    wrong = [name for name, words in expected.items() if heard.get(name) != words]
    if wrong:
        return CheckResult(
            "failed",
            have=f"for {wrong[0]} you heard {heard.get(wrong[0])!r}, and our own knock heard something else",
            asked="what the broker really says, or 'silence' where it waits for us to speak",
            look="read before you write, give the broker a second, and return the reason of the SSLError",
        )
    return CheckResult("passed", have="three knocks, and ours heard the same")


def _check_impostor(lab: Lab) -> CheckResult:
    """Look at the impostor's certificate, then see whether the broker falls for it."""
    certificate, key = (lab.workspace.path("intruders", f"impostor.{suffix}") for suffix in ("crt", "key"))
    if not certificate.exists():
        return CheckResult("not-attempted", asked="complete forge(), then run the cell below it")
    store = Store(lab.workspace)
    forged = describe(x509.load_pem_x509_certificate(certificate.read_bytes()))
    true = describe(store.certificate("sensor-001"))
    if (forged.subject, forged.issuer) != (true.subject, true.issuer):
        return CheckResult(
            "failed",
            have=f"a certificate for {forged.subject}, issued by {forged.issuer}",
            asked=f"one for {true.subject}, issued by {true.issuer}: the same names to the letter",
            look="store.names has the names of both authorities",
        )
    if verify(certificate, trust=store.trust_anchor, untrusted=store.intermediate).ok:
        return CheckResult(
            "failed",
            have="a certificate that our own authority signed",
            asked="one from an authority with a key of its own",
            look="Authority.new_root makes a key; store.authority() is ours",
        )
    control, intruder = _attempt(lab, _device(lab)), _attempt(lab, Identity(certificate, key))
    if control is None or intruder is None:
        return _NO_BROKER
    if not control.accepted:
        return _SICK_BROKER
    if intruder.reason != "unknown-ca":
        return CheckResult(
            "failed",
            have=f"the broker says: {intruder}",
            asked="a refusal because the authority is unknown",
            look="is the certificate still valid, and for clients?",
        )
    return CheckResult("passed", have="same names, another key, and the broker was not impressed")


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
    ),
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
