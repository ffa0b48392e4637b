"""Lesson tls: three promises on bytes that the reader recorded, and suites that a broker must not take."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labkit.course.lab import ready_authority, running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.tls_exercises import MORE
from labkit.course.lessons.tls_questions import QUESTIONS
from labkit.course.shelf import Case, failed, not_attempted, questioned
from labkit.errors import FormatError
from labkit.mqtt import Endpoint, probe
from labkit.mqtt.negotiation import offer_together
from labkit.mqtt.records import split_record
from labkit.mqtt.suites import SUITES
from labkit.scenarios.eavesdropping import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.lab import Lab
    from labkit.mqtt import Capture

SHELF = "answers/tls"
"""Where the reader's answers lie."""

MENDED = "broker/mended"
"""The folder of the broker of the second exercise."""

CLAIMS = (
    Claim("plain-overheard", "Without TLS a password is read by everybody on the way.", "tcp"),
    Claim(
        "tls-overheard",
        "With TLS the same password is not in the recording.",
        "tls",
        "encrypted",
        "overheard",
    ),
    Claim("names-12", "TLS 1.2 tells everybody which device it is.", "tcp", "accepted", "names"),
    Claim("names-13", "TLS 1.3 tells no eavesdropper which device it is.", "tls", "encrypted"),
    Claim("altered-control", "A relay that changes nothing changes nothing.", "mqtt"),
    Claim("altered", "One changed bit ends the connection.", "tls", "bad-record-mac", "altered"),
    Claim(
        "impostor-refused",
        "The device hangs up on a broker that another authority vouches for.",
        "tls",
        "server-untrusted",
    ),
    Claim("impostor-control", "The same device logs in where its own authority vouches.", "mqtt"),
    Claim(
        "weak-taken",
        "A broker without a line about suites takes CBC with SHA-1 and no forward secrecy.",
        "tls",
    ),
    Claim(
        "weak-refused",
        "Our broker refuses CBC with SHA-1 and no forward secrecy.",
        "tls",
        "handshake-failure",
    ),
    Claim("old-version-refused", "Our broker refuses TLS 1.1.", "tls", "protocol-version"),
    Claim("version-control", "Our broker takes TLS 1.2.", "tls"),
    Claim("static-rsa", "A log-in with static RSA works.", "mqtt"),
    Claim(
        "static-closed",
        "Without the broker's key the recording of a log-in with static RSA stays closed.",
        "tls",
        "encrypted",
    ),
    Claim(
        "static-opened",
        "With the broker's key, stolen later, the recording opens.",
        "tls",
        "accepted",
        "later",
    ),
    Claim("ecdhe-closed", "With ECDHE the same stolen key opens nothing.", "tls", "forward-secrecy"),
    Claim(
        "hidden-refusal",
        "Under TLS 1.3 the reason of a refusal comes after the handshake.",
        "tls",
        "certificate-required",
    ),
)

PREDICTIONS = (
    Prediction(
        "overheard",
        "The same log-in through TLS, the same relay. What is in the recording?",
        {"password": "the password", "name": "the user name, not the password", "neither": "neither of them"},
        "neither",
        {
            "password": "It was sent, and it is encrypted with everything else.",
            "name": "User name and password stand in the same MQTT packet, behind the same encryption.",
        },
    ),
    Prediction(
        "names",
        "Mutual TLS 1.2. Can somebody who only listens tell which device connects?",
        {"no": "no, that is what TLS is for", "ip": "by its address only", "yes": "yes, by its name"},
        "yes",
        {
            "no": "TLS 1.2 encrypts from Finished on. Certificates come before.",
            "ip": "By its address too. But its name stands in its certificate, and that goes over the wire in the open.",
        },
    ),
    Prediction(
        "altered",
        "One bit of one encrypted record is flipped on the way. What does the broker do?",
        {
            "garbage": "it decrypts garbage and drops it",
            "retry": "it asks for the record again",
            "end": "it ends the connection",
        },
        "end",
        {
            "garbage": "With AEAD nothing is decrypted before the tag was checked.",
            "retry": "TCP repeats what got lost. What was changed is an attack, and nobody asks attackers again.",
        },
    ),
    Prediction(
        "later",
        "The thief has the recording with static RSA, and now the broker's private key. What can he read?",
        {
            "nothing": "nothing: the session is over",
            "names": "the handshake, not the data",
            "all": "everything",
        },
        "all",
        {
            "nothing": "The session's secret was sent along, encrypted to the very key that he has now.",
            "names": "He could read the handshake before. Now he has the secret that all keys come from.",
        },
    ),
)


def make_inputs(lab: Lab, capture: Capture) -> dict[str, bytes]:
    """Make the three inputs of the first exercise, and put them on the shelf."""
    real = capture.stream("server")
    # The hostile one must be reached at the beginning of a record.
    first, _ = split_record(real)
    inputs = {
        "real": real,
        "cut off": real[: len(real) // 2],
        "hostile": (first or b"") + b"\x16\x03\x03\xff\xff" + b"A" * 40,
    }
    for name, data in inputs.items():
        lab.workspace.write(f"{SHELF}/{name.replace(' ', '-')}.bin", data)
    return inputs


def _walked(data: bytes) -> list[list[int]] | None:
    """Walk as labkit does; None where it refuses."""
    found = []
    try:
        record, data = split_record(data)
        while record is not None:
            found.append([record[0], len(record) - 5])
            record, data = split_record(data)
    except FormatError:
        return None
    return found


def _record(kind: int, length: int, body: int | None = None) -> bytes:
    """Return a record that claims to be so long, and is, unless its body has another length."""
    return bytes([kind, 3, 3, *length.to_bytes(2, "big")]) + b"x" * (length if body is None else body)


_GOOD = _record(22, 2) + _record(20, 1)

STREAMS = (
    ("an alert of two bytes", _record(21, 2), "wrong-header"),
    ("four kinds of record", _GOOD + _record(21, 26) + _record(23, 10), "wrong-header"),
    (
        "records of an older version, as a ClientHello has",
        b"\x16\x03\x01\x00\x02ab" + _record(22, 1),
        "wrong-header",
    ),
    ("the same record three times", _record(23, 40) * 3, "each-counts"),
    ("a record of 258 bytes, and another", _record(23, 258) + _record(23, 513), "wrong-length"),
    ("a record without a body, and another", _record(23, 0) + _record(21, 2), "stops-too-soon"),
    ("a record without a body at the end", _GOOD + _record(23, 0), "stops-too-soon"),
    ("nothing", b"", "cut-off"),
    ("three bytes of a header", b"\x16\x03\x03", "cut-off"),
    ("good records and half of one", _GOOD + _record(23, 10, 4), "cut-off"),
    ("good records and the header of one", _GOOD + _record(23, 10, 0), "cut-off"),
    ("the longest record that is allowed", _record(23, 18432) + _record(21, 2), "wrong-limit"),
    ("half of the longest record that is allowed", _record(23, 18432, 9000), "wrong-limit"),
    ("a record of one byte too much", _record(23, 18433), "wrong-limit"),
    ("a claim of 65,535 bytes behind good records", _GOOD + _record(22, 65535, 40), "believes-the-length"),
    ("a claim of 65,535 bytes and no body", _record(22, 65535, 0), "believes-the-length"),
    ("a record of type 19", _GOOD + _record(19, 2), "any-type"),
    ("a record of type 24", _record(24, 2), "any-type"),
    ("a record of type 71, a letter", b"GET / HTTP/1.1\r\n", "any-type"),
)
"""Bytes to walk through, and the mistake of somebody who walks another way."""

_LOOKS = {
    "wrong-header": "type, then two bytes of version, then two of length; the next record begins behind the body",
    "each-counts": "a record that looks like one before it is a record, too",
    "wrong-length": "two bytes, the first one counts 256 times as much",
    "stops-too-soon": "a record may have no body, and may be the last one",
    "cut-off": "return the complete records; what is cut off is no reason for an error",
    "wrong-limit": "18432 is allowed, and one byte more is not",
    "believes-the-length": "judge the length before you look whether so much is there",
    "any-type": "20 to 23, both ends included; anything else is a ValueError",
}


def _check_records(lab: Lab) -> CheckResult:
    """Let the reader's walk and labkit's go through the same bytes."""
    streams = list(STREAMS)
    recorded = lab.workspace.path(SHELF, "real.bin")
    if recorded.exists():
        streams.append(("what the broker said to you", recorded.read_bytes(), "wrong-header"))
    cases = []
    for about, data, fault in streams:
        walked = _walked(data)
        cases.append(Case(about, (data,), walked, fault, raises="ValueError" if walked is None else ""))
    return questioned(
        lab, "walk", cases,
        expected="every complete record as (type, length); ValueError where a type is none or a length is a lie",
        looks=_LOOKS, passed=f"{len(cases)} streams, and labkit walks the same way",
    )  # fmt: skip


def _unfit(suites: Sequence[str]) -> str:
    """Return a suite of TLS 1.2 that is weak, as Python's OpenSSL reads the list: it knows more than are offered here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(ssl.SSLError):
        context.set_ciphers(":".join(suites))
    known: list[Any] = context.get_ciphers()
    fit = {"kx-ecdhe", "kx-dhe"}
    return next(
        (s["name"] for s in known if s["protocol"] != "TLSv1.3" and not (s["aead"] and s["kea"] in fit)), ""
    )


def _check_suites(lab: Lab) -> CheckResult:
    """Log in, and offer the running broker everything that it must not take."""
    running = running_broker(lab, MENDED)
    if running is None:
        return not_attempted("complete choose(), then run the cell below it")
    endpoint, trust = Endpoint(running.host, running.port), lab.workspace.path(MENDED, "root.crt")
    control = probe(endpoint, trust=trust, tls="1.2", username=USER, password=PASSWORD)
    if not control.accepted:
        return failed(
            "device-locked-out",
            f"a TLS 1.2 device with ECDHE and RSA does not get in: {control}",
            expected="a broker that the device still reaches",
            advice="the broker's key is RSA, so ECDHE-ECDSA-… can't be agreed on; is the lowest version too high?",
        )
    # One connection that offers them all is enough: a broker that takes any of them takes one now.
    weak = offer_together(endpoint, [suite for suite in SUITES.values() if suite.faults])
    if weak.suite:
        return failed(
            "weak-suite",
            f"offered weak suites alone, the broker chose one with {' and '.join(weak.suite.faults)}",
            expected="a broker that refuses all that have a fault",
            advice="ECDHE in front means forward secrecy, GCM or POLY1305 at the end means AEAD",
        )
    if weak.verdict == "not-offered":
        return failed(
            "cant-tell",
            "the openssl of this machine can't offer weak suites",
            expected="an openssl that can, to try the broker with",
            advice="labkit doctor tells which openssl is used",
        )
    if unfit := _unfit(running.config.listeners[0].ciphers):
        return failed(
            "weak-suite",
            f"its list has {unfit}, which has no forward secrecy or no AEAD",
            expected="a broker that refuses all that have a fault",
            advice="the table shows the usual suites, and OpenSSL knows more; the same two rules judge those",
        )
    lowest = running.config.listeners[0].tls_version
    if lowest not in {"tlsv1.2", "tlsv1.3"}:
        return failed(
            "old-version",
            f"nothing weak is taken, and its configuration allows {lowest}",
            expected="1.2 and newer",
            advice="no suite is left for it today; tomorrow somebody adds one",
        )
    return CheckResult("passed", observed="nothing weak is taken, and the device is in")


CHECKS = (
    Check(
        "tls.1",
        "your walk finds the records that labkit finds, in whole streams, cut ones and hostile ones",
        (
            "A loop: while at least five bytes are left, look at the header, then take that many bytes off the front.",
            "int.from_bytes(data[3:5], 'big') is the length. Judge it before you use it.",
            "Compare len(data) - 5 with the length: if it is less, the record is cut off, and you are done.",
        ),
        _check_records,
        why="Whoever believes a length that somebody else wrote reads beyond what is there: that was Heartbleed.",
        kind="fill-in",
        minutes=8,
    ),
    Check(
        "tls.2",
        "the running broker takes no suite with a fault and nothing older than TLS 1.2, and a TLS 1.2 device is in",
        (
            "Look at the table of what the old broker takes: which rows have nothing in the last column?",
            "The key is RSA, so the second part of a TLS 1.2 suite's name is RSA; the first must be ECDHE.",
            "One suite with GCM, one with CHACHA20-POLY1305, and the version that the device speaks.",
        ),
        _check_suites,
        why="An attacker does not choose the best suite that you offer, but the worst.",
        kind="defend-it",
        minutes=6,
    ),
    *MORE,
)


LESSON = Lesson(
    slug="tls",
    title="See TLS from the wire",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
