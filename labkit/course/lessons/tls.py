"""Lesson tls: three promises on bytes that the reader recorded, and suites that a broker must not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.course.lab import ready_authority, running_broker
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.tls_questions import QUESTIONS
from labkit.errors import FormatError
from labkit.mqtt import Endpoint, probe
from labkit.mqtt.negotiation import offer_suites, offer_versions
from labkit.mqtt.records import split_record
from labkit.scenarios.eavesdropping import PASSWORD, USER

if TYPE_CHECKING:
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
    Claim("names-13", "TLS 1.3 does not.", "tls", "encrypted"),
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
    Claim("weak-refused", "Our broker refuses it.", "tls", "handshake-failure"),
    Claim("old-version-refused", "Our broker refuses TLS 1.1.", "tls", "protocol-version"),
    Claim("version-control", "Our broker takes TLS 1.2.", "tls"),
    Claim("static-rsa", "A log-in with static RSA works.", "mqtt"),
    Claim("static-closed", "Without the broker's key its recording stays closed.", "tls", "encrypted"),
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
    inputs = {
        "real": real,
        "cut off": real[: len(real) // 2],
        "hostile": real[:200] + b"\x16\x03\x03\xff\xff" + b"A" * 40,
    }
    # The hostile one must be reached at the beginning of a record.
    first, _ = split_record(real)
    inputs["hostile"] = (first or b"") + b"\x16\x03\x03\xff\xff" + b"A" * 40
    for name, data in inputs.items():
        lab.workspace.write(f"{SHELF}/{name.replace(' ', '-')}.bin", data)
    return inputs


def _walked(data: bytes) -> list[list[int]] | str:
    """Walk as labkit does."""
    found = []
    try:
        record, data = split_record(data)
        while record is not None:
            found.append([record[0], len(record) - 5])
            record, data = split_record(data)
    except FormatError:
        return "refused"
    return found


def _check_records(lab: Lab) -> CheckResult:
    """Compare the reader's walk with labkit's, input by input."""
    try:
        heard: Any = lab.workspace.read_json(f"{SHELF}/records.json")
    except FileNotFoundError:
        return CheckResult("not-attempted", expected="complete walk(), then run the cell below it")
    heard = heard if isinstance(heard, dict) else {}
    for name in ("real", "cut off", "hostile"):
        wanted = _walked(lab.workspace.path(f"{SHELF}/{name.replace(' ', '-')}.bin").read_bytes())
        if heard.get(name) != wanted:
            told = heard.get(name)
            count = len(told) if isinstance(told, list) else told
            return CheckResult(
                "failed",
                observed=f"for {name!r} you found: {count}" + (" records" if isinstance(count, int) else ""),
                expected="every complete record as [type, length]; a refusal where a length is a lie",
                advice="is the length checked before it is used? does the loop stop where a record is cut off?",
            )
    return CheckResult("passed", observed="three inputs, and labkit walks the same way")


def _check_suites(lab: Lab) -> CheckResult:
    """Offer the running broker everything, and log in."""
    running = running_broker(lab, MENDED)
    if running is None:
        return CheckResult("not-attempted", expected="complete choose(), then run the cell below it")
    endpoint, trust = Endpoint(running.host, running.port), lab.workspace.path(MENDED, "root.crt")
    control = probe(endpoint, trust=trust, tls="1.2", username=USER, password=PASSWORD)
    if not control.accepted:
        return CheckResult(
            "failed",
            observed=f"a TLS 1.2 device with ECDHE and RSA does not get in: {control}",
            expected="a broker that the device still reaches",
            advice="the broker's key is RSA, so ECDHE-ECDSA-… can't be agreed on; is the lowest version too high?",
        )
    weak = [
        offer for offer in offer_suites(endpoint) if offer.accepted and offer.suite and offer.suite.faults
    ]
    if weak:
        return CheckResult(
            "failed",
            observed=f"the broker takes {len(weak)} weak suites; one of them has {' and '.join(weak[0].row()[3].split(', '))}",
            expected="none with a fault",
            advice="ECDHE in front means forward secrecy, GCM or POLY1305 at the end means AEAD",
        )
    old = [
        offer.version
        for offer in offer_versions(endpoint)
        if offer.accepted and offer.version in {"1.0", "1.1"}
    ]
    if old:
        return CheckResult(
            "failed", observed=f"the broker takes TLS {old[0]}", expected="1.2 and newer", advice="lowest"
        )
    return CheckResult("passed", observed="nothing weak is taken, and the device is in")


CHECKS = (
    Check(
        "tls.1",
        "your walk finds the records that labkit finds, in a real stream, a cut one and a hostile one",
        (
            "A loop: while at least five bytes are left, look at the header, then take that many bytes off the front.",
            "int.from_bytes(data[3:5], 'big') is the length. Judge it before you use it.",
            "Compare len(data) - 5 with the length: if it is less, the record is cut off, and you are done.",
        ),
        _check_records,
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
    ),
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
