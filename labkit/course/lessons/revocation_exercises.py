"""Lesson revocation: the exercises for whoever wants more: an old list, an order of steps, and how long a list lives."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import failed, laid, not_attempted
from labkit.errors import RevocationListError
from labkit.pki import (
    Authority,
    Reason,
    Revocation,
    Schedule,
    Store,
    issue_list,
    look_up,
    read_list,
    verify_list,
)
from labkit.pki.revocation import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from labkit.course.lab import Lab
    from labkit.pki import RevocationList

# --- 3: the list of yesterday -------------------------------------------------------------------------------------------

THIEF = "sensor-016"
"""Who would like to come back."""

ARCHIVE = "answers/revocation/archive"
NEWEST = 40
_MONTH = Schedule(valid_for=dt.timedelta(days=30))


def make_archive(lab: Lab) -> dict[int, RevocationList]:
    """Make five lists, as anybody can collect them, and put them on the shelf.

    Returns:
        The lists by number. The thief is on 40 and not on those before; 41 is somebody else's work.
    """
    store, now = Store(lab.workspace), SYSTEM_CLOCK.now()
    store.issue_device(THIEF, renew=True)
    serial = store.certificate(THIEF).serial_number
    entry = Revocation(f"{serial:x}", THIEF, now, Reason.KEY_COMPROMISE, now + dt.timedelta(days=300))
    ours = store.authority()
    twin = Authority.new_root(store.names.root).new_intermediate(store.names.intermediate)
    made: tuple[tuple[int, Authority, Sequence[Revocation], int], ...] = (
        (37, ours, (), 31 * 24),
        (38, ours, (), 5 * 24),
        (39, ours, (), 25),
        (NEWEST, ours, (entry,), 1),
        (NEWEST + 1, twin, (), 0),
    )
    lists = {
        number: issue_list(signer, on_it, number=number, now=now - dt.timedelta(hours=ago), schedule=_MONTH)
        for number, signer, on_it, ago in made
    }
    for number, listed in lists.items():
        lab.workspace.write(f"{ARCHIVE}/{number}.pem", listed.pem)
    return lists


def takes(pem: bytes, issuer: x509.Certificate, now: dt.datetime) -> str:
    """Return what a hall's updater says of a list that it has fetched: `taken`, or the rule that refuses it."""
    try:
        verify_list(read_list(pem), issuer, now=now)
    except RevocationListError as error:
        return error.rule
    return "taken"


def _check_replay(lab: Lab) -> CheckResult:
    """Give the updater the list that the reader chose; the newest one is the control."""
    try:
        given = laid(lab, "replay.json")
    except FileNotFoundError:
        return not_attempted("complete replay(), then run the cell below it")
    expected = "the number of a list in the archive that the updater takes, and that spares you"
    folder = lab.workspace.path(ARCHIVE)
    here = (
        {int(path.stem): path for path in folder.glob("*.pem") if path.stem.isdecimal()}
        if folder.is_dir()
        else {}
    )
    if type(given) is not int or given not in here:
        return failed(
            "not-in-the-archive",
            f"{given!r}"[:120],
            expected=expected,
            advice="a number from the table's first column",
        )
    store, now = Store(lab.workspace), SYSTEM_CLOCK.now()
    issuer, serial = store.certificate("intermediate"), store.certificate(THIEF).serial_number

    def thief(number: int) -> str:
        return look_up(here[number].read_bytes(), issuer=issuer, serial=serial, now=now)

    if NEWEST not in here or thief(NEWEST) != "revoked":
        return failed(
            "no-control",
            "the newest list does not have the thief on it",
            expected=expected,
            advice="make the archive again",
        )
    said = takes(here[given].read_bytes(), issuer, now)
    if said == "stale":
        return failed(
            "stale",
            f"the updater refuses list {given}: {said}",
            expected=expected,
            advice="until when does it count?",
        )
    if said != "taken":
        return failed(
            "not-ours",
            f"the updater refuses list {given}: {said}",
            expected=expected,
            advice="who can make a signature that it believes?",
        )
    if thief(given) == "revoked":
        return failed(
            "on-it",
            f"the updater takes list {given}, and you are on it",
            expected=expected,
            advice="what was the world like before you were found out?",
        )
    return CheckResult(
        PASSED, observed=f"the updater took list {given} after list {NEWEST}, and you are welcome again"
    )


# --- 4: the order of the steps --------------------------------------------------------------------------------------------

STEPS = {
    "revoke": "write the certificate into the register",
    "sign": "sign a list of all that is in the register",
    "copy": "copy the signed list to the broker's disk",
    "deny": "write the rule that denies everything to the device",
    "reload": "have the broker read its list and its rules",
    "end": "end the device's session; it connects again at once",
}
"""What has to be done about a thief who is connected, in no order."""

COLLEAGUE = ("end", "deny", "reload", "sign", "revoke", "copy")
"""How a colleague did it."""


def play(steps: Sequence[str]) -> dict[str, bool]:
    """Play steps through, and return what is so at the end.

    Returns:
        Whether the thief is `registered`, `signed` (on the newest list), `copied` (on the list on the broker's disk), on
        the list `in force`, `silenced` by a rule in force, and `connected`.
    """
    so = dict.fromkeys(("registered", "signed", "copied", "in force", "ruled", "silenced"), False)
    so["connected"] = True
    for step in steps:
        match step:
            case "revoke":
                so["registered"] = True
            case "sign":
                so["signed"] = so["registered"]
            case "copy":
                so["copied"] = so["signed"]
            case "deny":
                so["ruled"] = True
            case "reload":
                so["in force"], so["silenced"] = so["copied"], so["ruled"]
            case "end":
                so["connected"] = not so["in force"]  # whoever is let in is back within the second
    del so["ruled"]
    return so


_WRONG = (
    ("signed", "signed-too-soon", "the signed list does not have the thief on it", "what does a list know of what is written later?"),
    ("copied", "copied-too-soon", "the list on the broker's disk does not have the thief on it", "which list was there to be copied?"),
    ("in force", "unread-list", "the broker goes by a list without the thief", "what had the broker on its disk when it read?"),
    ("silenced", "unread-rule", "the broker goes by rules that let the thief speak", "when are rules read?"),
)  # fmt: skip


def _check_order(lab: Lab) -> CheckResult:
    """Play the reader's order through; the colleague's is the control."""
    try:
        given: Any = laid(lab, "order.json")
    except FileNotFoundError:
        return not_attempted("complete order(), then run the cell below it")
    expected = "all six steps once, so that the thief is silenced, out, and stays out"
    if not isinstance(given, list) or sorted(map(str, given)) != sorted(STEPS):
        return failed(
            "not-the-steps",
            f"{given!r}"[:120],
            expected=expected,
            advice=f"each of these once: {', '.join(sorted(STEPS))}",
        )
    so = play(given)
    for fact, fault, observed, look in _WRONG:
        if not so[fact]:
            return failed(fault, observed, expected=expected, advice=look)
    if so["connected"]:
        return failed(
            "came-back",
            "the thief was thrown out, and let in again",
            expected=expected,
            advice="what must be so already when the thief knocks again?",
        )
    return CheckResult(PASSED, observed="on the list, the list in force, silenced, out, and it stays out")


# --- 5: how long a list lives ---------------------------------------------------------------------------------------------

STANDSTILL, PATIENCE, CARD = 86, 120, 24
"""Hours: a long weekend without signing, how long a hall without a line may believe an old list, between two signatures."""

_FIELDS = {"valid_for", "renew_after"}


def _check_life(lab: Lab) -> CheckResult:
    """Sign a list by the reader's schedule, and ask it what it is at the three hours that matter."""
    try:
        given: Any = laid(lab, "life.json")
    except FileNotFoundError:
        return not_attempted("complete life(), then run the cell below it")
    expected = f"whole hours: {', '.join(sorted(_FIELDS))}"
    if (
        not isinstance(given, dict)
        or set(given) != _FIELDS
        or any(type(hours) is not int for hours in given.values())
    ):
        return failed(
            "not-hours", f"{given!r}"[:120], expected=expected, advice="two fields, and whole numbers in both"
        )
    try:
        schedule = Schedule(**{name: dt.timedelta(hours=hours) for name, hours in given.items()})
    except (ValueError, OverflowError) as error:
        return failed(
            "not-a-schedule", str(error), expected=expected, advice="which of the two must be the longer one?"
        )
    start = SYSTEM_CLOCK.now().replace(microsecond=0)
    try:
        listed = issue_list(Store(lab.workspace).authority(), (), number=1, now=start, schedule=schedule)
    except (ValueError, OverflowError):
        return failed(
            "thief-too-long",
            "no calendar reaches as far as this list counts",
            expected=expected,
            advice="how long may a hall believe an old list?",
        )

    def state(hours: int, seconds: int = 0) -> State:
        return schedule.state(listed, start + dt.timedelta(hours=hours, seconds=seconds))

    if state(PATIENCE, seconds=1) is not State.STALE:
        return failed(
            "thief-too-long", f"after {PATIENCE} hours without a line the hall still believes the list: {state(PATIENCE, 1)}",
            expected=f"a thief who cuts the line is welcome for {PATIENCE} hours at most", advice="which of the two hours ends a list?",
        )  # fmt: skip
    if given["renew_after"] < CARD:
        return failed(
            "too-often", f"a list is due after {given['renew_after']} hours: the card is needed more than once a day",
            expected=f"at least {CARD} hours from one signature to the next", advice="how often can somebody be there?",
        )  # fmt: skip
    # The unlucky hall: the machine stops just before the next list would have been signed.
    if state(given["renew_after"] + STANDSTILL) is State.STALE:
        return failed(
            "locked-out", f"the machine stops {given['renew_after']} hours after a list was signed; {STANDSTILL} hours later the list is stale, and the fleet is out",
            expected=f"nobody is locked out by {STANDSTILL} hours without signing", advice="how old may a list already be when the weekend begins?",
        )  # fmt: skip
    return CheckResult(
        PASSED, observed="the weekend locks nobody out, and a cut line helps a thief for five days at most"
    )


MORE = (
    Check(
        "revocation.3",
        "the hall's updater takes a list from the archive that spares you, although a newer one has you on it",
        (
            "The updater asks two questions of a list. Which question of an honest list is not among them?",
            "Lists are public, and their signatures hold for ever. Somebody has collected them.",
            "It must be of the right authority, count today, and be older than the moment at which you were found out.",
        ),
        _check_replay,
        why="A signature says who wrote a list, not that there is no newer one; only its number can tell.",
        kind="break-it",
        required=False,
        minutes=4,
    ),
    Check(
        "revocation.4",
        "in your order the thief is on the list, the list is in force, and the thief is silenced, out, and stays out",
        (
            "Each step works with what is there at that moment, and knows nothing of what comes later.",
            "Four of the steps form a chain: what is written is signed, what is signed is copied, what is copied is read.",
            "Rules are read at the same moment as the list. And a thief who is thrown out knocks again at once.",
        ),
        _check_order,
        why="The right six steps in the wrong order end with a thief who is connected and a team that thinks otherwise.",
        kind="bug-hunt",
        required=False,
        minutes=5,
    ),
    Check(
        "revocation.5",
        "a long weekend locks nobody out, a cut line helps a thief for five days at most, and the card is needed once a day",
        (
            "One of the two numbers ends a list; the other says when the next one is made.",
            "The unlucky list is nearly due for renewal when the weekend begins.",
            f"Three conditions: renew_after is {CARD} or more, valid_for is {PATIENCE} or less, and there are {STANDSTILL} hours between them.",
        ),
        _check_life,
        why="A list's life is how long a thief may hide it and how long you may fail to renew it: one number for both.",
        kind="tweak",
        required=False,
        minutes=5,
    ),
)
