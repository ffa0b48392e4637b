"""The optional exercises of lesson tls: who notices, a client that believes everybody, and what lengths tell."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course.lab import running_broker
from labkit.course.lesson import Check, CheckResult
from labkit.course.shelf import failed, handed_in, laid, not_attempted
from labkit.mqtt import Identity, Relay, flip_bit, probe
from labkit.mqtt.records import APPLICATION_DATA, split_records
from labkit.pki import Store
from labkit.scenarios import Site
from labkit.scenarios.tls_doors import DOORS, tls_doors

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.course.lab import Lab
    from labkit.mqtt import Capture
    from labkit.mqtt.records import Direction
    from labkit.outcome import Outcome

TOPIC = "devices/sensor-001/status"


def _site(lab: Lab) -> Site | None:
    running = running_broker(lab)
    return Site(Store(lab.workspace), running) if running else None


_NO_BROKER = failed(
    "no-broker",
    "no broker is running in this lab",
    expected="the broker of *With a certificate on both sides*",
    advice="run its cell again",
)


def _say(
    site: Site, word: bytes, *, alter: Callable[[Direction, bytes], bytes] | None = None
) -> tuple[Outcome, Capture]:
    """Let the device say a word over TLS 1.2, with a relay on the way."""
    device = site.identity("sensor-001")
    who = Identity(device.certificate, device.key)
    with Relay(site.endpoint, alter=alter) as relay:
        outcome = probe(
            relay.endpoint, trust=site.trust, identity=who, tls="1.2", publish=TOPIC, payload=word
        )
        return outcome, relay.last()


# --- exercise 3: who notices ----------------------------------------------------------------------------------------


def _check_flip(lab: Lab) -> CheckResult:
    """Repeat the experiment without an alteration, and with the reader's."""
    try:
        settings = laid(lab, "flip.json")
    except FileNotFoundError:
        return not_attempted("complete settings(), then run the cell below it")
    asked = "the device finds that something was changed, and hangs up"
    if (
        not isinstance(settings, dict)
        or set(settings) != {"direction", "number"}
        or settings["direction"] not in ("client", "server")
        or type(settings["number"]) is not int
        or not 1 <= settings["number"] <= 50
    ):
        return failed(
            "not-settings",
            f"{settings!r}"[:80],
            expected='a dict with "direction", of two words, and "number", counted from 1',
            advice="help(flip_bit) says what it takes",
        )
    site = _site(lab)
    if site is None:
        return _NO_BROKER
    control, _ = _say(site, b"21.5")
    if not control.accepted:
        return failed(
            "sick-broker",
            f"without any change: {control}",
            expected="a broker that the device reaches through a relay",
            advice="lab.reset(), then run the cells from the top",
        )
    outcome, _ = _say(
        site, b"21.5", alter=flip_bit(direction=settings["direction"], number=settings["number"])
    )
    if outcome.accepted:
        return failed(
            "nothing-changed",
            f"{outcome}: nobody noticed anything",
            expected=asked,
            advice="how many records of application data does that side send in such a short session?",
        )
    if outcome.detail.get("alert"):
        return failed(
            "broker-noticed",
            f"the broker sent {outcome.detail['alert']}",
            expected=asked,
            advice="who opens a record that is changed on the way? whose record was it?",
        )
    return CheckResult("passed", observed=f"the device hung up: {outcome.detail.get('client_error')}")


# --- exercise 4: a client that believes everybody -------------------------------------------------------------------

SECRET = "blue-door-42"  # noqa: S105 - there to be given away

_DOOR_FAULTS = {
    "another-authority": (
        "any-authority",
        "who vouches for this server? load_verify_locations adds to whom a context believes already",
    ),
    "another-name": (
        "any-name",
        "the authority vouches for it, as somebody else; what is check_hostname for?",
    ),
    "another-purpose": (
        "any-purpose",
        "a device's certificate is no server's; the default purpose checks that",
    ),
    "another-day": ("any-date", "its certificate ran out; a context of the standard library looks at dates"),
}


def _check_log_in(lab: Lab) -> CheckResult:
    """Let the reader's function log in at five servers, and see who was told the password."""
    answer = handed_in(lab, "log_in")
    if answer is None:
        return not_attempted("complete log_in(), then run the cell below it")
    store = Store(lab.workspace)
    with (
        tempfile.TemporaryDirectory(prefix="labkit-judge-") as folder,
        tls_doors(store.authority(), Path(folder), tuple(DOORS)) as doors,
    ):
        # The machine that it runs on believes the other authority, as yours believes a hundred.
        (other,) = (door.chain for door in doors if door.label == "another-authority")
        cases = [(door.port, str(store.trust_anchor), SECRET) for door in doors]
        replies = answer.ask(cases, env={"SSL_CERT_FILE": str(other)})
    asked = '"sent" where the right server was told the password, "refused" where nobody was told anything'
    # What was told counts first, and what the function says of it second.
    for door in doors[1:]:
        fault, look = _DOOR_FAULTS[door.label]
        if any(door.told):
            return failed(
                fault, f"a server with {door.label.replace('-', ' ')} was told the password",
                expected=asked, advice=look,
            )  # fmt: skip
    for door, reply in zip(doors, replies, strict=True):
        arrived = SECRET.encode() in b"".join(door.told)
        if door.label == "ours" and not arrived:
            said = reply.error or f"log_in() returned {reply.value!r}"
            return failed(
                "crashed" if reply.error else "locked-out",
                f"the right server was told nothing; {said}"[:120],
                expected=asked,
                advice="cafile is the root that vouches for it; its certificate names localhost",
            )
        if reply.value != ("sent" if arrived else "refused"):
            return failed(
                "wrong-report",
                f"{door.label}: {'it was told' if arrived else 'nobody was told'}, and log_in() "
                f"{'raised ' + reply.error if reply.error else f'returned {reply.value!r}'}"[:160],
                expected=asked,
                advice="catch the error of the handshake, and nothing else",
            )
    return CheckResult("passed", observed="five servers, and the right one alone was told the password")


# --- exercise 5: what lengths tell ----------------------------------------------------------------------------------

WORDS = ("open", "closed", "closed", "open")
"""What the device says while the judge records it."""


def record(site: Site, word: str) -> list[int]:
    """Let the device publish a word over TLS, and return how long its records of application data were.

    Args:
        site: The lesson's broker.
        word: What it says.
    """
    _, capture = _say(site, word.encode())
    return _lengths(capture)


def _lengths(capture: Capture) -> list[int]:
    return [
        len(each.body)
        for each in split_records(capture)
        if each.direction == "client" and each.content_type == APPLICATION_DATA
    ]


def _check_said(lab: Lab) -> CheckResult:
    """Record the device while it speaks, and let the reader's function guess what was said."""
    answer = handed_in(lab, "said")
    if answer is None:
        return not_attempted("complete said(), then run the cell below it")
    site = _site(lab)
    if site is None:
        return _NO_BROKER
    recordings = [_say(site, word.encode()) for word in WORDS]
    if not all(outcome.accepted for outcome, _ in recordings) or any(
        word.encode() in capture.stream("client")
        for word, (_, capture) in zip(WORDS, recordings, strict=True)
    ):
        return failed(
            "sick-broker",
            "the device did not get in, or what it said could be read",
            expected="the lesson's broker, which takes the message, over TLS",
            advice="lab.reset(), then run the cells from the top",
        )
    cases: list[list[Any]] = [[_lengths(capture)] for _, capture in recordings]
    for word, reply in zip(WORDS, answer.ask(cases), strict=True):
        if reply.value != word:
            did = f"raised {reply.error}" if reply.error else f"returned {reply.value!r}"
            return failed(
                "crashed" if reply.error else f"{word}-missed",
                f"the device said something, and said() {did}"[:120],
                expected='"open" or "closed", as the device said it',
                advice="print both lists side by side: which number differs, and by how much?",
            )
    return CheckResult(
        "passed", observed=f"{len(WORDS)} recordings, none of them opened, and you know what was said"
    )


MORE = (
    Check(
        "tls.3",
        "with your settings it is the device that finds the changed bit",
        (
            "flip_bit changed a record that the device sent, so the broker found it.",
            "It takes two arguments. One of them says whose record is changed.",
            "The other side sends few records in such a session: the answer to CONNECT, and one to PUBLISH.",
        ),
        _check_flip,
        why="Integrity holds in both directions, and each side has to check what it is sent.",
        kind="tweak",
        required=False,
        minutes=3,
    ),
    Check(
        "tls.4",
        "log_in() tells its password to the right server, and to none of four impostors",
        (
            "Two lines of the colleague's switch off what the context would do by itself.",
            "ssl.create_default_context(cafile=…) believes one root and checks names, if it is told which name.",
            'wrap_socket(tcp, server_hostname="localhost"), and except ssl.SSLCertVerificationError around it.',
        ),
        _check_log_in,
        why="A client that checks nothing gives its password to whoever answers first.",
        kind="bug-hunt",
        required=False,
        minutes=6,
    ),
    Check(
        "tls.5",
        "said() knows from lengths alone what the device said",
        (
            "AES-GCM hides every byte, and adds the same number of bytes to each record.",
            "The device's records are: CONNECT, PUBLISH, DISCONNECT. Which of them holds the word?",
            "Two words of different length; compare with a number between the two.",
        ),
        _check_said,
        why="Encryption hides what is said, not how much, nor when.",
        kind="break-it",
        required=False,
        minutes=5,
    ),
)
"""The exercises that nothing later builds on."""
