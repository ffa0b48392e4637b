"""Lesson audit: the exercises on alerts and logs for whoever wants more."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.monitor.alerts import AlertRules, Rule
from labkit.audit.monitor.detectors import Detectors
from labkit.audit.monitor.events import broker_events
from labkit.broker.log import parse_line
from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labkit.audit.monitor.alerts import Alert
    from labkit.course.lab import Lab

# --- 4: thresholds ----------------------------------------------------------------------------------------------------

MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
_DAY = 86_400
EVERY = 90
"""Seconds between two tries of the patient attacker."""

MOST_TRIES = 12
"""So many tries may pass before somebody is told."""

_BURSTS = (7 * 3600, 19 * 3600)
_ATTACK = 10 * 3600 + 300
_REFUSED = (
    "OpenSSL Error[0]: error:1417C086:SSL routines:tls_process_client_certificate:certificate verify failed"
)


def _lines(seconds: Iterable[int]) -> list[str]:
    return [f"{int(MIDNIGHT.timestamp()) + second}: {_REFUSED}" for second in sorted(seconds)]


_HONEST = [
    *(burst + 5 * try_ for burst in _BURSTS for try_ in range(4)),
    *range(1800, _DAY, 7200),
]


def honest_day() -> list[str]:
    """Return the log of a quiet day: a gateway whose clock is wrong when it starts, and a device with an old certificate."""
    return _lines(_HONEST)


def attacked_day() -> list[str]:
    """Return the same day with somebody in it who tries a stranger's certificate every 90 seconds, for half an hour."""
    return _lines([*_HONEST, *range(_ATTACK, _ATTACK + 1800, EVERY)])


def alerts(at_least: float, within: float, lines: Iterable[str]) -> list[Alert]:
    """Return the alerts that the course's detectors raise over a log, with one rule: for refused handshakes."""
    rules = AlertRules((Rule("failed-tls", at_least, within),))
    return Detectors(rules).see(broker_events(lines, seen_at=MIDNIGHT + dt.timedelta(days=1)))


def _check_thresholds(lab: Lab) -> CheckResult:
    """Play both days to the reader's rule."""
    try:
        given = laid(lab, "rule.json")
    except FileNotFoundError:
        return not_attempted("complete rule(), then run the cell below it")
    expected = f"nothing on the honest day, and an alert before the attacker's try number {MOST_TRIES + 1}"
    if (
        not isinstance(given, dict)
        or set(given) != {"at_least", "within"}
        or any(type(value) is not int or not 1 <= value <= _DAY for value in given.values())
    ):
        return failed("not-a-rule", f"{given!r}"[:120], expected=expected, advice=f"at_least and within: whole numbers, from 1 to {_DAY}")  # fmt: skip
    if noise := alerts(given["at_least"], given["within"], honest_day()):
        return failed(
            "rings-for-nothing", f"{len(noise)} alerts on the honest day, the first at {noise[0].at:%H:%M}", expected=expected,
            advice="how many refusals has the honest day within your time, at its worst?",
        )  # fmt: skip
    rung = alerts(given["at_least"], given["within"], attacked_day())
    if not rung:
        return failed(
            "deaf", "the attack of half an hour raises no alert", expected=expected,
            advice=f"a try every {EVERY} seconds: how many of them fall within your time?",
        )  # fmt: skip
    tries = int((rung[0].at - MIDNIGHT).total_seconds() - _ATTACK) // EVERY + 1
    if tries > MOST_TRIES:
        return failed("too-late", f"the alert comes at try {tries}", expected=expected, advice="fewer are enough, if the time fits")  # fmt: skip
    return CheckResult(
        PASSED,
        observed=f"silent on the honest day, and the attack is told at {rung[0].at:%H:%M}, at try {tries}",
    )


# --- 5: who was it? -----------------------------------------------------------------------------------------------------

_CONNECTED = "1772366400: New client connected from 127.0.0.1:40000 as "

LINES = (
    ("an honest device", f"{_CONNECTED}sensor-001 (p5, c1, k30, u'sensor-001').", "honest-missed"),
    ("a device over MQTT 3.1.1", f"{_CONNECTED}sensor-002 (p2, c0, k60, u'sensor-002').", "honest-missed"),
    ("an address of IPv6", "1772366400: New client connected from ::1:40000 as sensor-003 (p5, c1, k30, u'sensor-003').", "honest-missed"),
    ("a client id that is not the user", f"{_CONNECTED}pump (p5, c1, k30, u'sensor-001').", "id-believed"),
    ("no user at all", f"{_CONNECTED}sensor-001 (p5, c1, k30).", "id-believed"),
    ("an id that looks like the end of a line", f"{_CONNECTED}x (p5, c1, k30, u'admin'). (p5, c1, k30, u'sensor-003').", "first-believed"),
    ("an id with a user in it, and no user", f"{_CONNECTED}x (p5, c1, k30, u'admin'). (p5, c1, k60).", "first-believed"),
    ("a user with an apostrophe", f"{_CONNECTED}desk (p5, c1, k30, u'o'neil').", "cut-off"),
    ("another second, another machine, a longer silence", "1772452801: New client connected from 10.0.30.7:1883 as pump (p4, c0, k1200, u'pump-7').", "honest-missed"),
    ("a user with blanks and capitals", f"{_CONNECTED}desk (p5, c1, k30, u'Night Shift, Gate 2').", "cut-off"),
    ("a user in which something looks like the beginning of a user", f"{_CONNECTED}desk (p5, c1, k30, u'Lulu's desk').", "cut-off"),
    ("a topic that reads like a line", "1772366400: Denied PUBLISH from thief (d0, q0, r0, m0, 'New client connected from 127.0.0.1:1 as a (p5, c1, k30, u'admin').', ... (4 bytes))", "anywhere-believed"),
    ("an id that reads like a line", "1772366400: Client New client connected from 127.0.0.1:1 as a (p5, c1, k30, u'admin'). already connected, closing old connection.", "anywhere-believed"),
    ("a line of another kind", "1772366400: mosquitto version 2.0.11 running", "anywhere-believed"),
    ("nothing", "", "anywhere-believed"),
)  # fmt: skip
"""Lines of a log, some of which an attacker has had a hand in, and the mistake of somebody who reads them otherwise."""


def user_of(line: str) -> str | None:
    """Return whom Mosquitto let in, by our own reader of its log; None where the line tells of no session, or no user."""
    found = parse_line(line)
    return (found["user"] or None) if found.kind == "connected" else None


def _check_user(lab: Lab) -> CheckResult:
    """Let the reader's function read the same lines."""
    cases = [Case(about, (line,), user_of(line), fault) for about, line, fault in LINES]
    return questioned(
        lab, "who", cases,
        expected="the user name that Mosquitto wrote, or None",
        looks={
            "honest-missed": "nobody has forged anything in this line; compare it with your pattern, word by word",
            "id-believed": "the client chooses its id; the user is what stands between u' and '",
            "first-believed": "two endings look right: which of them did the client write, and which one Mosquitto?",
            "cut-off": "a name may hold blanks, capitals and apostrophes; what does the line end with?",
            "anywhere-believed": "hold the pattern against the whole line, from its first character to its last",
        },
        passed=f"{len(LINES)} lines, and nobody talked you into another name",
    )  # fmt: skip


MORE = (
    Check(
        "audit.4",
        f"your rule is silent on the honest day, and rings within {MOST_TRIES} tries of a patient attacker",
        (
            "Two questions: how many refusals has the honest day at its worst, and how many has the attack, in the same time?",
            "Four come within a quarter of a minute in the morning, and then one in two hours. The attack has forty an hour.",
            "A longer time, and a number that the honest day does not reach within it.",
        ),
        _check_thresholds,
        why="An alert that rings for nothing is switched off, and one that only hears haste never meets a patient attacker.",
        kind="tweak",
        required=False,
        minutes=6,
    ),
    Check(
        "audit.5",
        "your function reads the user from each line, whatever a client has written into its id or topic",
        (
            "Which words in the line did the client choose? A search finds the first match; whose is that?",
            "Match the whole line: its beginning, and the end, which is Mosquitto's.",
            "re.fullmatch with a greedy .+ for the id takes the last ending that looks right.",
        ),
        _check_user,
        why="Whoever writes into your log writes into your alerts, and has somebody else thrown out.",
        kind="bug-hunt",
        required=False,
        minutes=8,
    ),
)
