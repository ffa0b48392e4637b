"""Exercise sensor-node: an identity in flash, readings at the broker, a command, a line of a log, a date that has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.board.nor_flash import SIZE
from labkit.broker.log import parse_line
from labkit.clock import SYSTEM_CLOCK
from labkit.course.exercise import Draw, Exercise
from labkit.course.exercises.sensor_node_cases import (
    Case,
    drawn,
    interval_cases,
    judge_cases,
    log_cases,
)
from labkit.course.exercises.sensor_node_flash import (
    Flash,
    Identity,
    read_flash,
    read_identity,
    values_of,
    verify_no_secret,
)
from labkit.course.exercises.sensor_node_judge import Judge, judge, try_identity
from labkit.course.exercises.sensor_node_written import RUBRICS
from labkit.course.lab import ready_authority
from labkit.course.lesson import NOT_ATTEMPTED, PASSED, Check, CheckResult, RejectedError
from labkit.node import layout, topics
from labkit.node.codes import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.answers import Answer
    from labkit.course.work import Work

FILES = "boards/{device}/files"
"""Where a student's bench keeps its files."""

_READINGS = 3
_TOLERANCE = 0.4
"""By how much the pace at the broker may differ: the board's time runs fast, and a machine may be busy."""


def _vary(draw: Draw) -> Mapping[str, Any]:
    places = ("greenhouse", "orchard", "cellar", "hangar", "silo", "kiln", "ferry", "dairy")
    return {
        "device": f"{draw.one('place', places)}-{draw.number('number', 10, 99)}",
        "chip": draw.one("chip", ("esp32", "esp32c3")),
        "version": f"{draw.number('major', 1, 9)}.{draw.number('minor', 0, 9)}.{draw.number('patch', 1, 9)}",
        "interval": draw.number("interval", 15, 50),
        "shortest": draw.one("shortest", (1, 2, 5, 10)),
        "longest": draw.one("longest", (600, 900, 1800, 3600, 7200)),
    }


# --- what was handed in -------------------------------------------------------------------------------------------


def _flash(work: Work) -> Flash | None:
    data = work.data(f"{FILES.format(device=work.variant.device)}/flash.bin", limit=SIZE)
    return None if data is None else read_flash(data)


def _identity(work: Work, flash: Flash) -> Identity:
    return read_identity(flash.values, work.variant.device)


def _no_flash(work: Work) -> CheckResult:
    return CheckResult(
        NOT_ATTEMPTED,
        expected=f"flash.bin in {FILES.format(device=work.variant.device)}: complete values() and plan(), then run the cells",
    )


# --- 1: the identity ------------------------------------------------------------------------------------------------


def _check_identity(work: Work) -> CheckResult:
    """Read the flash, and try the identity at the judge's broker."""
    flash = _flash(work)
    if flash is None:
        return _no_flash(work)
    identity = _identity(work, flash)
    verify_no_secret(flash, identity)
    outcome = try_identity(judge(work, identity), identity)
    if not outcome.accepted:
        short = outcome.reason == "unknown-ca" and len(identity.chain) == 1
        raise RejectedError(
            "chain-incomplete" if short else "broker-refuses",
            f"a broker that believes identity/root refuses identity/chain: {outcome}",
            expected="a chain that leads from the device to the root, without anybody's help",
            advice="Which certificate lies between? The device sends it, behind its own."
            if short
            else "Look at the dates, and at who signed what: labkit ca show NAME",
        )
    return CheckResult(
        PASSED,
        observed=f"{work.variant.device}: key and chain in {layout.PARTITION}, and nothing in the image",
    )


# --- 2: readings ----------------------------------------------------------------------------------------------------


def _check_readings(work: Work) -> CheckResult:
    """Boot the flash on the judge's board, and listen at the judge's broker."""
    flash = _flash(work)
    if flash is None:
        return _no_flash(work)
    identity, wanted = _identity(work, flash), work.variant.interval
    _verify_interval(flash, wanted)
    judges = judge(work, identity)
    judges.put(flash)
    judges.started()
    if judges.version != work.variant.version:
        raise RejectedError(
            "wrong-version",
            f"the image says that it is version {judges.version[:40]!r}",
            expected=f"version {work.variant.version}",
            advice="bench.make_firmware(version) writes a file for each version; which one did you flash?",
        )
    _connect(judges)
    found = judges.readings(_READINGS)
    if len(found) < _READINGS:
        raise RejectedError(
            "not-heard",
            f"{len(found)} of {_READINGS} readings came",
            expected=f"readings on {topics.telemetry(work.variant.device)}",
            advice="Does your own board send? bench.hear() asks it for a reading.",
        )
    _verify_readings(found, work.variant.device, wanted)
    return CheckResult(PASSED, observed=f"a reading every {wanted} s on {found[0][0]}")


def _verify_interval(flash: Flash, wanted: int) -> None:
    entry = flash.values.get((layout.SETTINGS, layout.INTERVAL))
    if entry is None:
        raise RejectedError(
            "interval-missing",
            f"{layout.PARTITION} has no settings/interval, so the node takes a minute",
            expected=f"a reading every {wanted} s from the first day on",
            advice="It is a value like the others, a u32 in the namespace settings.",
        )
    if entry.kind != "u32":
        raise RejectedError(
            "interval-kind",
            f"settings/interval is a {entry.kind}",
            expected="a u32; the node looks for no other",
            advice='NvsEntry("settings", "interval", "u32", number)',
        )
    if entry.value != wanted:
        raise RejectedError(
            "interval-wrong",
            f"settings/interval is {entry.value!r}",
            expected=f"a reading every {wanted} s",
            advice="mine.interval is yours, in seconds.",
        )


def _verify_readings(found: list[tuple[str, Any]], device: str, wanted: int) -> None:
    ups: list[float] = []
    for topic, content in found:
        numbers: list[Any] = (
            [content.get(name) for name in ("temp", "hum", "uptime")] if isinstance(content, dict) else [None]
        )
        if topic != topics.telemetry(device) or not all(type(one) in {int, float} for one in numbers):
            raise RejectedError(
                "reading-content",
                f"{content!r} came on {topic}"[:200],
                expected="temperature and humidity",
                advice="The course's node sends both; is this its image?",
            )
        ups.append(numbers[2])
    pace = (ups[-1] - ups[0]) / (len(ups) - 1)
    if abs(pace - wanted) > max(_TOLERANCE * wanted, 4):
        raise RejectedError(
            "interval-live",
            f"a reading came every {pace:g} s",
            expected=f"every {wanted} s",
            advice="Send your board the command interval, or none, and look at its console.",
        )


def _admitted(work: Work, flash: Flash) -> Judge:
    """Return the judge's board after it has booted a student's flash and come to the broker."""
    judges = judge(work, _identity(work, flash))
    judges.put(flash)
    judges.started()
    _connect(judges)
    return judges


def _no_board(observed: str, expected: str) -> RejectedError:
    return RejectedError(
        "no-board",
        f"the function holds, and there is no board {observed}",
        expected=expected,
        advice="Hand in flash.bin first: exercises 1 and 2.",
        share=0.5,
    )


def _connect(judges: Judge) -> None:
    outcome = judges.connected()
    if not outcome.accepted:
        raise RejectedError(
            "board-refused",
            f"the board starts, and the judge's broker refuses it: {outcome}",
            expected="a session, by the certificate in its flash",
            advice="lab.check('sensor-node.1') says more of the identity.",
        )


# --- 3: the command -------------------------------------------------------------------------------------------------


def _check_command(work: Work) -> CheckResult:
    """Ask the function hidden cases, then let the judge's board understand commands by it."""
    answer = work.answer("read_interval")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete read_interval(), and hand it in")
    mine, source = work.variant, drawn(answer)
    judge_cases(answer, interval_cases(source, mine.shortest, mine.longest))
    flash = _flash(work)
    if flash is None:
        raise _no_board("to try it on", "a device that obeys")
    _obeys(_admitted(work, flash), answer, mine, source.randint(mine.shortest, mine.longest))
    return CheckResult(PASSED, observed="your device obeys what makes sense, and lives through the rest")


def _obeys(judges: Judge, answer: Answer, mine: Any, seconds: int) -> None:
    def understood(payload: bytes) -> int:
        (reply,) = answer.ask([(payload, mine.shortest, mine.longest)], seconds=5)
        if "ValueError" in reply.kinds:
            raise refused("json-range", "")
        if type(reply.value) is not int or not 0 <= reply.value <= 0xFFFFFFFF:
            raise refused("memory-short", "")
        return reply.value

    with judges.bench.understanding(understood):
        done = judges.bench.command("interval", f'{{"seconds": {seconds}}}')
        no = judges.bench.command("interval", f'{{"seconds": {mine.longest + 1}}}')
    if f"seconds={seconds}" not in done.detail.get("board", "").split() or no.reason != "json-range":
        raise RejectedError(
            "not-obeyed",
            f"told {seconds} s: {done}; told {mine.longest + 1} s: {no}",
            expected="the first is done, and the second refused",
            advice="The same function answered otherwise a moment ago: does it depend on anything but its arguments?",
        )


# --- 4: the log -----------------------------------------------------------------------------------------------------


def _check_log(work: Work) -> CheckResult:
    """Ask the function lines that were made up, then the log of the judge's broker, with an impostor in it."""
    answer = work.answer("who")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete who(), and hand it in")
    judge_cases(answer, log_cases(drawn(answer)))
    flash = _flash(work)
    if flash is None:
        raise _no_board("that anybody would let in", "a line of a broker's log that names your device")
    log = judge(work, _identity(work, flash)).bench.site.broker.log
    mark = log.mark()
    judges = _admitted(work, flash)
    judges.borrow_client_id()
    lines = [event.text for event in log.since(mark)]
    judge_cases(answer, [_of_the_log(f"1790000000: {line}") for line in lines])
    if not any(_named(line) == judges.device for line in lines):
        raise RejectedError(
            "not-admitted",
            "no line of the judge's broker names your device by its certificate",
            expected=f"u'{judges.device}'",
            advice="lab.check('sensor-node.1') says more of the identity.",
        )
    return CheckResult(PASSED, observed=f"the judge's broker let in u'{judges.device}', and you can tell")


def _named(line: str) -> str | None:
    event = parse_line(line)
    return (event["user"] or None) if event.kind == "connected" else None


def _of_the_log(line: str) -> Case:
    wanted = _named(line)
    return Case((line,), wanted, "refusal-believed" if wanted is None else "client-id-believed")


# --- 5: a date that has passed --------------------------------------------------------------------------------------


def _check_expired(work: Work) -> CheckResult:
    """Let the judge's board in with the good identity, and see it refused with the other one, for its date."""
    flash = _flash(work)
    if flash is None:
        return _no_flash(work)
    data = work.data(f"{FILES.format(device=work.variant.device)}/expired.bin")
    if data is None:
        return CheckResult(NOT_ATTEMPTED, expected="a partition expired.bin")
    values = values_of(data)
    late = read_identity(values, work.variant.device)
    if late.leaf.not_valid_after_utc > SYSTEM_CLOCK.now():
        raise RejectedError(
            "still-valid",
            f"the certificate in expired.bin is valid until {late.leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            expected="one whose time is over",
            advice="labkit.pki.flawed has a function for it; by hand it is openssl x509 -req -days -1.",
        )
    if late.root != _identity(work, flash).root:
        raise RejectedError(
            "another-root",
            "the device in expired.bin believes another root than the good one",
            expected="one thing that is different: the date",
            advice="bench.make_partition(values(late, site), 'expired.bin'): what of it is not as in fctry.bin?",
        )
    judges = _admitted(work, flash)  # the control: it is not a broker that refuses everybody
    judges.put(flash, values)
    outcome = judges.connected()
    if (outcome.stage, outcome.reason) != ("tls", "certificate-expired"):
        raise RejectedError(
            "not-refused" if outcome.accepted else "another-reason",
            f"with the certificate in expired.bin: {outcome}",
            expected="a refusal by TLS, for its date and for nothing else",
            advice="The same authority has to sign it, for the same device. What else is different from the good one?",
        )
    return CheckResult(PASSED, observed="good: let in; expired: refused by TLS, certificate-expired")


# --- the exercise ---------------------------------------------------------------------------------------------------

CHECKS = (
    Check(
        "sensor-node.1",
        "the device's partition holds its identity: id, root, whole chain and key; the image holds none of it",
        (
            "Four strings in the namespace identity. The fields of `identity` and `site` are paths; flash holds content.",
            "The broker that judges believes your root and nothing else. Who signed the device's certificate: the root?",
            "chain is two PEM texts, one behind the other: the device's certificate, then site.store.intermediate.",
        ),
        _check_identity,
        points=15,
        why="A key in the image goes wherever the image goes; a chain with a gap locks the device out.",
        minutes=15,
    ),
    Check(
        "sensor-node.2",
        "the flash boots, and readings come on devices/<id>/telemetry/environment at your interval",
        (
            "Five files, five places. COURSE_TABLE knows three of them.",
            "The table itself lies at 0x8000 on every chip; where the bootloader lies depends on the chip: bench.board.chip.",
            "COURSE_TABLE.find(label).offset for otadata, fctry and ota_0; the interval is a u32, settings/interval.",
        ),
        _check_readings,
        points=15,
        why="A file at the wrong place overwrites its neighbour, and the tool that writes it does not notice.",
        kind="tweak",
        minutes=15,
    ),
    Check(
        "sensor-node.3",
        "the device obeys a command that makes sense and refuses any other, by ValueError and nothing else",
        (
            "From outside to inside: length, JSON, object, fields, kind, bounds. Each step may refuse.",
            "bool is an int to isinstance. A field that stands there twice is lost in a dict: see object_pairs_hook.",
            "object_pairs_hook is shown the pairs of each object; it may raise ValueError, or return dict(pairs).",
        ),
        _check_command,
        points=20,
        why="The broker knows who may write to a topic, and nothing of what is written there.",
        kind="defend-it",
        minutes=20,
    ),
    Check(
        "sensor-node.4",
        "you tell from a broker's log whom a certificate let in, whatever a client writes into it",
        (
            "One kind of line says it. What does it begin with, behind the time, and how does it end?",
            "`as …` is the client id, which a client chooses. u'…' comes from the certificate; where is it missing?",
            "re.fullmatch holds a pattern against the whole line; the last (p…, c…, k…, u'…'). is Mosquitto's own.",
        ),
        _check_log,
        points=15,
        why="A log is evidence only as far as its words were not chosen by the one it tells of.",
        kind="bug-hunt",
        minutes=15,
    ),
    Check(
        "sensor-node.5",
        "with a certificate whose time is over, and everything else right, the same device is refused for its date",
        (
            "Everything is right but the date: the same id, the same authority, a key that fits.",
            "A good experiment changes one thing: reuse values(), and give it another identity.",
            "flawed.expired(authority, name) makes one; store.save_intruder(label, issued) keeps it as files.",
        ),
        _check_expired,
        points=15,
        why="A refusal proves something only when the same device with one thing right is let in.",
        kind="break-it",
        minutes=15,
    ),
)

EXERCISE = Exercise(
    slug="sensor-node",
    title="Build a sensor node that proves who it is",
    minutes=100,
    claims=(),
    checks=CHECKS,
    prepare=ready_authority,
    rubrics=RUBRICS,
    vary=_vary,
)
