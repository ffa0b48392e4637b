"""Answers to the exercises of lesson revocation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.broker import DEVICE_ACL
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.revocation import RETIRED, make_lists
from labkit.course.lessons.revocation_exercises import COLLEAGUE, make_archive
from labkit.pki import Store
from labkit.scenarios.revocation import enforce, revoke, revoking_broker, silence
from tests.answers.shape import Answers, Right, Wrong, laying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.scenarios import Site

_sites: list[Site] = []


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with its broker, the lists of the first exercise, and the archive of the third."""
    lab = open_lab("revocation", workspace=folder / "w")
    store = Store(lab.workspace)
    store.identity("sensor-001")
    make_lists(lab)
    make_archive(lab)
    _sites.append(lab.enter(revoking_broker(store)))
    yield lab
    _sites.clear()
    lab.close()


# --- 1: verdicts ----------------------------------------------------------------------------------------------------

RIGHT = {"ours": "revoked", "stale": "stale", "forged": "signature", "not on it": "good"}


def verdicts(value: Any) -> Callable[[Any], None]:
    """Hand in verdicts."""
    return laying("verdicts.json", value)


# --- 2: retire a device ---------------------------------------------------------------------------------------------


def retiring(*steps: Callable[[Site], object]) -> Callable[[Lab], None]:
    """Take fresh devices and the course's rules, and do something to them."""

    def give(lab: Lab) -> None:
        (site,) = _sites
        for name in (RETIRED, "sensor-001"):
            Store(lab.workspace).issue_device(name, renew=True)
        site.broker.reload(DEVICE_ACL)
        for step in steps:
            step(site)

    return give


def on_paper(site: Site) -> None:
    """Put the device on record."""
    site.store.revocations.revoke(RETIRED)


def another(site: Site) -> None:
    """Retire the healthy device as well."""
    revoke(site, "sensor-001", "cessation-of-operation")


def retired(site: Site) -> None:
    """Do it as the library does."""
    revoke(site, RETIRED, "cessation-of-operation")


def silenced(site: Site) -> None:
    """Take its rights."""
    silence(site, RETIRED)


def healthy_silenced(site: Site) -> None:
    """Take the rights of the healthy device."""
    silence(site, "sensor-001")


def unread_rule(site: Site) -> None:
    """Write the rule and tell nobody."""
    path = site.broker.folder / "acl.conf"
    path.write_text(f"user {RETIRED}\ntopic deny #\n\n{path.read_text()}")


# --- 3 to 5 ---------------------------------------------------------------------------------------------------------


def order(words: str | Any) -> Callable[[Any], None]:
    """Hand in steps."""
    return laying("order.json", words.split() if isinstance(words, str) else words)


def life(valid_for: Any, renew_after: Any) -> Callable[[Any], None]:
    """Hand in a schedule."""
    return laying("life.json", {"valid_for": valid_for, "renew_after": renew_after})


TABLE = (
    Answers(
        "revocation.1",
        right=(
            Right("four verdicts", verdicts(RIGHT)),
            Right("in another order, and one more", verdicts({"more": "stale", **dict(reversed(RIGHT.items()))})),
        ),
        wrong=(
            Wrong("believes the forged one", verdicts({**RIGHT, "forged": "revoked"}), "forged-believed", says="'forged'"),
            Wrong("believes the stale one", verdicts({**RIGHT, "stale": "revoked"}), "stale-believed", says="'stale'"),
            Wrong("asks for the time before the signature", verdicts({**RIGHT, "forged": "good"}), "forged-believed"),
            Wrong("everybody is on it", verdicts({**RIGHT, "not on it": "revoked"}), "not-on-it", says="'not on it'"),
            Wrong("nobody is on it", verdicts(dict.fromkeys(RIGHT, "good")), "revoked-missed", says="'ours'"),
            Wrong("nothing", verdicts({}), "revoked-missed"),
            Wrong("a list", verdicts([]), "revoked-missed"),
        ),
    ),
    Answers(
        "revocation.2",
        touches=(),
        right=(
            Right("as the library does", retiring(retired)),
            Right("silenced first", retiring(silenced, on_paper, enforce)),
        ),
        wrong=(
            Wrong("on paper alone", retiring(on_paper), "may-speak"),
            Wrong("forgets the open session", retiring(on_paper, enforce), "may-speak"),
            Wrong("tells nobody", retiring(silenced, on_paper), "not-in-force", says="accepted"),
            Wrong("writes the rule and tells nobody", retiring(on_paper, unread_rule), "not-in-force", says="accepted"),
            Wrong("reloads before the rule is there", retiring(on_paper, enforce, unread_rule), "may-speak", says="to a message of its"),
            Wrong("silences the neighbour too", retiring(retired, healthy_silenced), "healthy-locked-out", says="not-authorised"),
            Wrong("takes the neighbour too", retiring(retired, another), "healthy-locked-out", says="sensor-001"),
            Wrong("silences alone", retiring(silenced), "", status="not-attempted"),
        ),
    ),
    Answers(
        "revocation.3",
        right=(
            Right("yesterday's", laying("replay.json", 39)),
            Right("the one before", laying("replay.json", 38)),
        ),
        wrong=(
            Wrong("the newest", laying("replay.json", 40), "on-it"),
            Wrong("one that has run out", laying("replay.json", 37), "stale"),
            Wrong("somebody else's", laying("replay.json", 41), "not-ours", says="signature"),
            Wrong("one that nobody has", laying("replay.json", 12), "not-in-the-archive"),
            Wrong("a word", laying("replay.json", "39"), "not-in-the-archive"),
            Wrong("two at once", laying("replay.json", [38, 39]), "not-in-the-archive"),
        ),
    ),
    Answers(
        "revocation.4",
        right=(
            Right("the rule last", order("revoke sign copy deny reload end")),
            Right("the rule first", order("deny revoke sign copy reload end")),
        ),
        wrong=(
            Wrong("the colleague's", order(list(COLLEAGUE)), "signed-too-soon"),
            Wrong("signs what is not there yet", order("sign revoke copy deny reload end"), "signed-too-soon"),
            Wrong("copies last week's list", order("revoke copy sign deny reload end"), "copied-too-soon"),
            Wrong("reads before it is copied", order("revoke sign deny reload copy end"), "unread-list"),
            Wrong("the rule after the reload", order("revoke sign copy reload deny end"), "unread-rule"),
            Wrong("throws the thief out first", order("end revoke sign copy deny reload"), "came-back"),
            Wrong("and a moment too soon", order("revoke sign copy deny end reload"), "came-back"),
            Wrong("leaves one out", order("revoke sign copy deny reload"), "not-the-steps"),
            Wrong("reads twice", order("revoke sign copy reload deny reload end"), "not-the-steps"),
            Wrong("a sentence", laying("order.json", "revoke sign copy deny reload end"), "not-the-steps"),
        ),
    ),
    Answers(
        "revocation.5",
        right=(
            Right("as long as may be", life(120, 34)),
            Right("as short as may be", life(110, 24)),
            Right("in between", life(118, 30)),
        ),
        wrong=(
            Wrong("the course's own", life(168, 24), "thief-too-long"),
            Wrong("an hour too long", life(121, 24), "thief-too-long"),
            Wrong("a list for ever", life(10**9, 24), "thief-too-long"),
            Wrong("an hour too short", life(109, 24), "locked-out"),
            Wrong("counts the weekend alone", life(86, 24), "locked-out"),
            Wrong("is renewed too late", life(120, 35), "locked-out"),
            Wrong("the card twice a day", life(100, 12), "too-often"),
            Wrong("the wrong way round", life(24, 120), "not-a-schedule"),
            Wrong("never renewed", life(110, 0), "not-a-schedule"),
            Wrong("half an hour", life(110.5, 24), "not-hours"),
            Wrong("true", life(110, True), "not-hours"),
            Wrong("one number", laying("life.json", {"valid_for": 120}), "not-hours"),
        ),
    ),
)  # fmt: skip
