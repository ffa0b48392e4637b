"""What a student's two functions are asked: commands that make sense and others, lines of a log and what hides in them.

Cases are drawn from the answer's own text: another answer meets other cases, and the same one meets the same again.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.lesson import RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.course.answers import Answer, Reply

LONGEST_PAYLOAD = 256
"""Bytes of a command that a device reads."""

SECONDS = 10.0
"""How long a function may take for all cases."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        arguments: What the function is given.
        wanted: What it should return.
        refused: Whether it should raise `ValueError` instead.
        fault: What it is called when it does not.
    """

    arguments: tuple[Any, ...]
    wanted: Any
    fault: str
    refused: bool = False


ADVICE = {
    "hangs": "It did not come back, or it ended its process. A device that hangs is a device that is lost.",
    "crashes": "Nothing but ValueError may come out. What does your code do with a value that is not what it expects?",
    "not-a-number": "It returns a whole number, of type int.",
    "good-refused": "It is JSON, one object with one field, and a whole number inside the bounds. What do you compare it with?",
    "no-error": "A no is an exception here. Whoever is given None takes it for an interval.",
    "bounds": "Both bounds are allowed, and nothing outside of them. They are arguments: don't write your own ones.",
    "kind": "JSON has true, texts, fractions and lists too, and Python takes some of them for numbers. type(x) is int.",
    "unknown-field": "One field, spelled like this, and no other: what you don't know may be a typing mistake, or meant for another version.",
    "field-twice": "json.loads keeps the last of two. It has a parameter that is shown the pairs instead.",
    "not-json": "JSON is UTF-8 by its grammar: no byte, comma or zero too many, and double quotes. What reads it for you?",
    "no-object": "JSON may be a list, a number, a text or null.",
    "too-long": "A device has little memory, and reads 256 bytes. Look at the length before anything else.",
    "client-id-believed": "A client chooses its id, and can choose another's. Which word comes from the certificate?",
    "nobody-named": "Compare it with a line of your own broker's log, word by word.",
    "planted": "A client chooses its id and its topics, brackets and quotes among it. What does it not choose: where the line begins, and how it ends.",
    "refusal-believed": "Only one kind of line says that somebody was let in.",
}
"""What to try, by fault; the gravest first."""

GRAVE = ("hangs", "crashes", "not-a-number", "good-refused", "nobody-named", "no-error")
"""Faults after which nothing is earned."""


def judge_cases(answer: Answer, cases: Sequence[Case]) -> None:
    """Ask a function all cases.

    Raises:
        RejectedError: The first mistake; it earns half where everything good was right and one kind of nonsense passed.
    """
    source = drawn(answer)
    order = sorted(range(len(cases)), key=lambda _: source.random())
    replies = answer.ask([cases[number].arguments for number in order], seconds=SECONDS)
    found = dict(zip(order, replies, strict=True))
    wrong = {
        number: verdict
        for number, case in enumerate(cases)
        if (verdict := _verdict(case, found[number])) is not None
    }
    if not wrong:
        return
    number, (fault, did) = min(wrong.items(), key=lambda item: (list(ADVICE).index(item[1][0]), item[0]))
    faults = {one for one, _ in wrong.values()}
    raise RejectedError(
        fault,
        f"{answer.name}({_shown(cases[number].arguments)}) {did}",
        expected=_wanted(cases[number]),
        advice=ADVICE[fault],
        share=0.5 if len(faults) == 1 and fault not in GRAVE else 0.0,
    )


def drawn(answer: Answer) -> random.Random:
    """Return where an answer's cases come from: the same ones for the same text."""
    return random.Random(hashlib.sha256(answer.source.encode(errors="replace")).digest())  # noqa: S311 - no secret


def _verdict(case: Case, reply: Reply) -> tuple[str, str] | None:
    if reply.error and not reply.kinds:
        return "hangs", f"gives no answer: {reply.error}"
    refused = "ValueError" in reply.kinds
    if reply.error and not refused:
        return "crashes", f"raises {reply.error[:120]}"
    if refused:
        return None if case.refused else (case.fault, "raises ValueError")
    if case.refused:
        return "no-error" if reply.value is None else case.fault, f"returns {reply.value!r}"[:140]
    if isinstance(case.wanted, int) and type(reply.value) is not int:
        return "not-a-number", f"returns {reply.value!r}"[:140]
    if case.wanted is not None and (type(reply.value) is not type(case.wanted) or not reply.value):
        return "nobody-named", f"returns {reply.value!r}"[:140]
    return None if reply.value == case.wanted else (case.fault, f"returns {reply.value!r}"[:200])


def _shown(arguments: Sequence[Any]) -> str:
    return ", ".join(text if len(text := repr(one)) < 200 else f"{text[:90]}…" for one in arguments)


def _wanted(case: Case) -> str:
    if case.refused:
        return "ValueError"
    return "a return value of None" if case.wanted is None else f"the return value {case.wanted!r}"


# --- commands -----------------------------------------------------------------------------------------------------


def interval_cases(source: random.Random, shortest: int, longest: int) -> list[Case]:
    """Return commands for two pairs of bounds: a student's own, and one that begins with 1, so that true would pass."""
    other = (1, source.randint(90, 7000))
    return [case for low, high in ((shortest, longest), other) for case in _commands(source, low, high)]


def _commands(source: random.Random, low: int, high: int) -> Iterator[Case]:
    good = source.randint(low + 1, high - 1)

    def case(payload: str | bytes, fault: str, wanted: int | None = None) -> Case:
        data = payload if isinstance(payload, bytes) else payload.encode()
        return Case((data, low, high), wanted, fault, refused=wanted is None)

    for seconds in (good, low, high):
        yield case(f'{{"seconds": {seconds}}}', "good-refused" if seconds == good else "bounds", seconds)
    yield case(f'\n {{\t"seconds" :{good}}} ', "good-refused", good)
    yield case(f'{{"\\u0073econds":{good}}}', "good-refused", good)
    yield case(f'{{"seconds": {good}}}'.ljust(LONGEST_PAYLOAD), "good-refused", good)
    for seconds in (low - 1, high + 1, 0, -good, -(10 ** source.randint(2, 9)), 10 ** source.randint(11, 40)):
        yield case(f'{{"seconds": {seconds}}}', "bounds")
    for value in (
        "true",
        "false",
        f'"{good}"',
        f"{good}.0",
        f"{good}.5",
        "1e2",
        "null",
        f"[{good}]",
        "{}",
        "NaN",
    ):
        yield case(f'{{"seconds": {value}}}', "kind")
    yield case(f'{{"seconds": {good}, "unit": "ms"}}', "unknown-field")
    yield case(f'{{"seconds": {good}, "Seconds": {good}}}', "unknown-field")
    yield case(f'{{"seconds": {good}, "seconds": {min(good + 1, high)}}}', "field-twice")
    yield case(f'{{"seconds": {good}, "s\\u0065conds": {good}}}', "field-twice")
    for nothing in (
        f"[{good}]",
        f"{good}",
        f'"{good}"',
        "null",
        "true",
        "[]",
        '[{"seconds": 7}]',
        f'[["seconds", {good}]]',
    ):
        yield case(nothing, "no-object")
    for field in ("minutes", "", "second", "seconds ", "Seconds", "SECONDS"):
        yield case(f'{{"{field}": {good}}}', "unknown-field")
    yield case("{}", "unknown-field")
    yield case(f'{{"seconds": {good}}}'.ljust(LONGEST_PAYLOAD + 1), "too-long")
    yield case(" " * 100_000 + f'{{"seconds": {good}}}', "too-long")
    for broken in (
        b"",
        b"\xff\xfe{}",
        b"\x00",
        f'{{"seconds": {good}'.encode(),
        f'{{"seconds": {good}}}}}'.encode(),
        f'{{"seconds": {good}}}'.encode() + b"\xff",
        f'{{"sec\xffonds": {good}}}'.encode("latin-1"),
        f"{{'seconds': {good}}}".encode(),
        *(f'{{"seconds": {number}}}'.encode() for number in (f"0{good}", f"+{good}", hex(good), f"{good},")),
    ):
        yield case(broken, "not-json")
    yield case("[" * 100_000, "too-long")
    yield case('{"seconds":' + "9" * 5000 + "}", "bounds")


# --- the log ------------------------------------------------------------------------------------------------------

_PLACES = ("barn", "dock", "vault", "tower", "cellar")


def log_cases(source: random.Random) -> list[Case]:
    """Return lines of a broker's log, as Mosquitto writes them and as clients can make it write them."""
    return list(_lines(source))


def _lines(source: random.Random) -> Iterator[Case]:
    def name() -> str:
        return f"{source.choice(_PLACES)}-{source.randint(100, 999)}"

    def when() -> str:
        if source.random() < 0.5:
            return str(source.randint(1_700_000_000, 1_900_000_000))
        return f"2026-{source.randint(1, 12):02}-{source.randint(1, 28):02}T{source.randint(0, 23):02}:07:45"

    def ending(user: str | None) -> str:
        said = f", u'{user}'" if user else ""
        return f"(p{source.choice((2, 5))}, c{source.randint(0, 1)}, k{source.randint(10, 90)}{said})."

    def admitted(client: str, user: str | None) -> str:
        peer = f"{source.choice(('127.0.0.1', '10.3.2.1', 'fe80::17'))}:{source.randint(1024, 65000)}"
        return f"New client connected from {peer} as {client} {ending(user)}"

    def case(text: str, wanted: str | None, fault: str) -> Case:
        return Case((f"{when()}: {text}",), wanted, fault)

    device, other = name(), name()
    for _ in range(3):
        device, other = name(), name()
        yield case(admitted(device, device), device, "nobody-named")
        yield case(admitted(device, other), other, "client-id-believed")
        yield case(admitted(f"auto-{source.getrandbits(64):X}", other), other, "client-id-believed")
    yield case(admitted("a b (c), d", other), other, "planted")
    yield case(admitted(f"x {ending(device)}", other), other, "planted")
    yield case(admitted(f"x {ending(device)}", None), None, "planted")
    yield case(admitted(f"u'{device}'", other), other, "planted")
    yield case(admitted(f"{other}, u'{device}').", None), None, "planted")
    yield case(admitted(device, None), None, "client-id-believed")
    planted = admitted("x", device)
    yield case(f"\t{planted}", None, "planted")
    yield case(f"Received PUBLISH from {other} (d0, q0, r0, m0, '{planted}', ... (3 bytes))", None, "planted")
    yield case(f"Client x {ending(device)} disconnected.", None, "refusal-believed")
    yield case(f"Client {planted} disconnected, not authorised.", None, "planted")
    yield case(f"Sending CONNACK to {device} (0, 5)", None, "refusal-believed")
    yield case(f"Client {device} disconnected, not authorised.", None, "refusal-believed")
    yield case(f"Client {device} already connected, closing old connection.", None, "refusal-believed")
    yield case("Client <unknown> disconnected: Protocol error.", None, "refusal-believed")
    error = "error:0A000086:SSL routines::certificate verify failed"
    yield case(f"OpenSSL Error[0]: {error}", None, "refusal-believed")
    yield case(
        f"New connection from 127.0.0.1:{source.randint(1024, 65000)} on port 8883.", None, "refusal-believed"
    )
    yield case("No will message specified.", None, "refusal-believed")
