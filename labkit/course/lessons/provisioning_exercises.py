"""Lesson provisioning: the exercises for whoever wants more: two names, a rule for tokens, and a thousand renewals."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned
from labkit.pki import Key
from labkit.provisioning.policy import Policy, renewal_opens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.lab import Lab

# --- 3: two names -------------------------------------------------------------------------------------------------------

HONEST = "sensor-103"
"""Whose token the reader has."""

OPERATOR = "admin"


def ask_for(names: Sequence[str]) -> x509.CertificateSigningRequest:
    """Return a request whose subject has these common names, in this order.

    Raises:
        ValueError: One of them is no common name: it is empty, or longer than 64 characters.
    """
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names])
    return x509.CertificateSigningRequestBuilder(subject).sign(Key.generate().private, hashes.SHA256())


def _common_names(request: x509.CertificateSigningRequest) -> list[str]:
    return [str(each.value) for each in request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]


def grants(request: x509.CertificateSigningRequest) -> bool:
    """Return whether a mended museum piece signs a request: its common name must be that of the token."""
    subject = {}
    for each in request.subject:
        subject[each.oid] = each.value
    return subject == {x509.NameOID.COMMON_NAME: HONEST}


def heard_as(request: x509.CertificateSigningRequest) -> str:
    """Return the user name that a broker reads in this subject: as Mosquitto does, the first common name."""
    return _common_names(request)[0]


def _check_names(lab: Lab) -> CheckResult:
    """Make the reader's request, ask the server, and read the name as the broker does; an honest one is the control."""
    try:
        given: Any = laid(lab, "names.json")
    except FileNotFoundError:
        return not_attempted("complete names(), then run the cell below it")
    expected = f"a request that is granted with a token for {HONEST}, and that a broker takes for {OPERATOR}"
    try:
        if not isinstance(given, list) or not given or any(not isinstance(name, str) for name in given):
            raise TypeError
        request = ask_for(given)
    except (ValueError, TypeError):
        return failed(
            "not-names", f"{given!r}"[:120], expected=expected, advice="a list of texts of 1 to 64 characters"
        )
    honest = ask_for([HONEST])
    if not grants(honest) or heard_as(honest) != HONEST:  # pragma: no cover - the control
        return failed(
            "no-control", "an honest request is refused", expected=expected, advice="tell the maintainers"
        )
    if not grants(request):
        return failed(
            "refused", f"the server refuses {given!r}"[:120], expected=expected,
            advice="what is left in a dict of two values with one key?",
        )  # fmt: skip
    if heard_as(request) != OPERATOR:
        return failed(
            "nobody", f"granted, and the broker says: {heard_as(request)}"[:120], expected=expected,
            advice="which of the names does the broker read?",
        )  # fmt: skip
    return CheckResult(PASSED, observed=f"granted with a token for {HONEST}, and the broker says: {OPERATOR}")


# --- 4: a rule for tokens -----------------------------------------------------------------------------------------------

Token = dict[str, Any]
END = 1000


def _token(used_by: str | None = None) -> Token:
    return {"device": HONEST, "ends_at": END, "used_by": used_by}


_PUMP: Token = {"device": "pump-7", "ends_at": 2 * END, "used_by": None}


def decide(token: Token | None, request: dict[str, str], now: int) -> tuple[str, str | None]:
    """Return what the service says to a token and a request, and for which name it signs; the desk's rule, in small."""
    if token is None:
        return "token-unknown", None
    if token["used_by"] is not None:
        same = token["used_by"] == request["key"]
        return ("repeated", token["device"]) if same else ("token-spent", None)
    if token["ends_at"] <= now:
        return "token-expired", None
    return "granted", token["device"]


def _asks(name: str = HONEST, key: str = "key-1") -> dict[str, str]:
    return {"name": name, "key": key}


ASKED: tuple[tuple[str, tuple[Token | None, dict[str, str], int], str], ...] = (
    ("a fresh token", (_token(), _asks(), END - 500), "honest-refused"),
    ("one second before the end", (_token(), _asks(), END - 1), "honest-refused"),
    ("a wish for another name", (_token(), _asks("admin"), END - 500), "name-from-request"),
    ("no such token", (None, _asks(), END - 500), "unknown-token"),
    ("long after the end", (_token(), _asks(), END + 500), "end-ignored"),
    ("at the end itself", (_token(), _asks(), END), "end-counts"),
    ("a spent token, and another key", (_token("key-1"), _asks(key="key-2"), END - 500), "spent-twice"),
    ("the reply was lost", (_token("key-1"), _asks(), END - 500), "lost-reply"),
    ("the reply was lost, and another name is wished for", (_token("key-1"), _asks("admin"), END - 500), "name-from-request"),
    ("the reply was lost, and the token has ended since", (_token("key-1"), _asks(), END + 5), "lost-reply"),
    ("a spent token, and a key that begins alike", (_token("key-1"), _asks(key="key-12"), END - 500), "spent-twice"),
    ("a spent token, and a key in capitals", (_token("key-1"), _asks(key="KEY-1"), END - 500), "spent-twice"),
    ("a fresh token of another device, with another end", (_PUMP, _asks("pump-7"), END + 500), "honest-refused"),
    ("a spent token that has ended, and another key", (_token("key-1"), _asks(key="key-2"), END + 5), "spent-first"),
)  # fmt: skip
"""What the service is asked, and the mistake of somebody who says something else."""


def _check_decide(lab: Lab) -> CheckResult:
    """Put the same questions to the reader's rule."""
    cases = [Case(about, args, decide(*args), fault) for about, args, fault in ASKED]
    return questioned(
        lab, "decide", cases,
        expected="a pair: the word, and the name that is signed, or None",
        looks={
            "honest-refused": "a token counts until its end; return a pair",
            "name-from-request": "who decides on the name: whoever asks, or whoever made the token?",
            "unknown-token": "what is token, when nobody made one?",
            "end-ignored": "ends_at and now are seconds of the same clock",
            "end-counts": "at ends_at it has ended",
            "spent-twice": "who shows a spent token with another key is somebody else",
            "lost-reply": "a device that did not get its certificate asks again, with the same key; may that cost it its identity?",
            "spent-first": "somebody shows a spent token: that is worth more to an operator than that it has ended as well",
        },
        passed=f"{len(ASKED)} questions, and you decide as the service does",
    )  # fmt: skip


# --- 5: a thousand renewals ---------------------------------------------------------------------------------------------

FLEET, LIFE, AWAY, MOST = 1_000, 90, 20, 150
"""Devices of one day, days that their certificates count, days that a device may be away, renewals on one day."""

_FIELDS = {"window", "jitter"}


def opens(window: int, jitter: int) -> list[float]:
    """Return for each device of the fleet how many days before its end the service allows the renewal."""
    policy = Policy(window=dt.timedelta(days=window), jitter=dt.timedelta(days=jitter))
    made = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    end = made + dt.timedelta(days=LIFE)
    names = (f"sensor-{number:04d}" for number in range(FLEET))
    return [(end - renewal_opens(name, made, end, policy)) / dt.timedelta(days=1) for name in names]


def busiest(window: int, jitter: int) -> tuple[int, int]:
    """Return the day, counted back from the end, on which most renewals begin, and how many."""
    return Counter(int(days) for days in opens(window, jitter)).most_common(1)[0]


def _check_policy(lab: Lab) -> CheckResult:
    """Ask the service's own policy for each of a thousand devices."""
    try:
        given: Any = laid(lab, "policy.json")
    except FileNotFoundError:
        return not_attempted("complete policy(), then run the cell below it")
    expected = f"each device has {AWAY} days for its renewal, and at most {MOST} begin on one day"
    if (
        not isinstance(given, dict)
        or set(given) != _FIELDS
        or any(type(days) is not int or not 0 <= days <= LIFE for days in given.values())
    ):
        return failed(
            "not-days", f"{given!r}"[:120], expected=expected,
            advice=f"two fields, window and jitter; whole days from 0 to {LIFE}",
        )  # fmt: skip
    least = min(opens(**given))
    if least < AWAY:
        return failed(
            "too-late", f"a device that is away for {AWAY} days has {least:.1f} days for its renewal, and comes back locked out",
            expected=expected, advice="which of the two numbers holds for every device?",
        )  # fmt: skip
    day, number = busiest(**given)
    if number > MOST:
        third = day == LIFE // 3
        return failed(
            "pile-up" if third else "all-at-once", f"{number} devices begin {day} days before their end",
            expected=expected,
            advice="nobody renews before the last third of a certificate's life; who would, waits there with all the others"
            if third else "what spreads them?",
        )  # fmt: skip
    return CheckResult(
        PASSED, observed=f"every device has {least:.1f} days or more, and {number} begin on the busiest day"
    )


MORE = (
    Check(
        "provisioning.3",
        f"the server grants your request with a token for {HONEST}, and a broker takes you for {OPERATOR}",
        (
            "A subject is a list. Nothing says that a kind of name comes once.",
            "The server makes a dict of the names before it compares. What happens to a key that comes twice?",
            "A dict keeps the last value of a key; the broker reads the first common name.",
        ),
        _check_names,
        why="Two programs that read one name in two ways are a door; a name from the registry has one reader.",
        kind="break-it",
        required=False,
        minutes=5,
    ),
    Check(
        "provisioning.4",
        "your rule decides as the service does on every token and request",
        (
            "Four mistakes: about a token that is not there, the name, a reply that was lost, and one second.",
            "Look at tokens that nobody made first, then at spent ones, then at the time.",
            "A spent token with the same key is repeated, whenever that is; with another key it is token-spent.",
        ),
        _check_decide,
        why="A token is worth one identity: too strict, and a lost packet costs a device; too kind, and there are two of it.",
        kind="bug-hunt",
        required=False,
        minutes=8,
    ),
    Check(
        "provisioning.5",
        f"each of {FLEET:,} devices has {AWAY} days to renew, and no more than {MOST} begin on one day",
        (
            "window is what every device has; jitter is what some have more.",
            f"{FLEET:,} devices over so many days: how many days are needed for {MOST} a day?",
            f"The two together should not reach far beyond {LIFE // 3} days, a third of the certificates' life.",
        ),
        _check_policy,
        why="Devices that were made on one day run out on one day, and their renewals should not meet at one door.",
        kind="tweak",
        required=False,
        minutes=5,
    ),
)
