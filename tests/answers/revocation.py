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
from tests.answers.shape import Answers, Right, Wrong, handing, laying

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

_JUDGE = """
    from cryptography import x509

    def judge(pem, ca, serial, now):
        crl = x509.load_pem_x509_crl(pem)
        key = x509.load_pem_x509_certificate(ca).public_key()
        if not crl.is_signature_valid(key):
            return "signature"
        if now > crl.next_update_utc.timestamp():
            return "stale"
        return "good" if crl.get_revoked_certificate_by_serial_number(serial) is None else "revoked"
"""

_BY_WALKING = """
    import datetime as dt

    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    def judge(pem, ca, serial, now):
        crl, issuer = x509.load_pem_x509_crl(pem), x509.load_pem_x509_certificate(ca)
        try:
            issuer.public_key().verify(crl.signature, crl.tbs_certlist_bytes, ec.ECDSA(crl.signature_hash_algorithm))
        except InvalidSignature:
            return "signature"
        if not crl.last_update_utc <= dt.datetime.fromtimestamp(now, dt.UTC) <= crl.next_update_utc:
            return "stale"
        return "revoked" if serial in [each.serial_number for each in crl] else "good"
"""

_TIME_FIRST = """
    from cryptography import x509

    def judge(pem, ca, serial, now):
        crl = x509.load_pem_x509_crl(pem)
        if now > crl.next_update_utc.timestamp():
            return "stale"
        if not crl.is_signature_valid(x509.load_pem_x509_certificate(ca).public_key()):
            return "signature"
        return "good" if crl.get_revoked_certificate_by_serial_number(serial) is None else "revoked"
"""

_TYPED = """
    lists = iter(["revoked", "stale", "signature", "good"] * 9)

    def judge(pem, ca, serial, now):
        return next(lists)
"""


def judging(old: str = "", new: str = "") -> Callable[[Any], None]:
    """Hand in a judge that differs in one place."""
    assert old in _JUDGE
    return handing("judge", _JUDGE.replace(old, new) if old else _JUDGE)


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
            Right("with the library's help", judging()),
            Right("walks through the list", handing("judge", _BY_WALKING)),
        ),
        wrong=(
            Wrong("types the four verdicts", handing("judge", _TYPED), "revoked-missed", says="last number"),
            Wrong("compares the names", judging("crl.is_signature_valid(key)", "crl.issuer == x509.load_pem_x509_certificate(ca).subject"), "forged-believed"),
            Wrong("believes every signature", judging('return "signature"', "pass"), "forged-believed"),
            Wrong("believes the stale one", judging('return "stale"', "pass"), "stale-believed"),
            Wrong("asks for the time before the signature", handing("judge", _TIME_FIRST), "time-first"),
            Wrong("asks its own clock", judging("if now >", "import time; now = time.time()\n        if now >"), "own-clock", says="eight days ago"),
            Wrong("asks when the list began", judging("next_update_utc", "last_update_utc"), "revoked-missed", says="'stale'"),
            Wrong("everybody is on it", judging('"good" if', '"revoked" if'), "not-on-it"),
            Wrong("nobody is on it", judging('else "revoked"', 'else "good"'), "revoked-missed"),
            Wrong("looks at the first entry alone", judging("crl.get_revoked_certificate_by_serial_number(serial)", "{crl[0].serial_number: 1}.get(serial)"), "revoked-missed", says="last number"),
            Wrong("the wrong way round", judging("is None", "is not None"), "revoked-missed"),
            Wrong("True and False", judging('"good" if', "True if"), "not-on-it"),
            Wrong("returns nothing", judging('return "good" if', '_ = "good" if'), "revoked-missed"),
            Wrong("raises", judging('return "signature"', "raise ValueError"), "crashed"),
            Wrong("the stub", handing("judge", "def judge(pem, ca, serial, now):\n    raise NotImplementedError"), "", status="not-attempted"),
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
