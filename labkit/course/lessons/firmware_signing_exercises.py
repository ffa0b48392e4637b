"""Lesson firmware-signing: the exercises for whoever wants more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned
from labkit.firmware.update import SMALLEST_IMAGE, Header, Target, Version, decide
from labkit.outcome import ACCEPTED
from labkit.updates.policy import place, too_many_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.course.lab import Lab

# --- 3: a colleague's policy ------------------------------------------------------------------------------------------

DEVICE: dict[str, Any] = {"product": "course-node", "hardware": 2, "version": "1.9.0", "secure_version": 3}
"""The device that is asked most."""

_GOOD: dict[str, Any] = {"product": "course-node", "hardware_min": 1, "hardware_max": 3, "version": "1.9.1", "secure_version": 3}  # fmt: skip


def _asked(
    about: str, fault: str, header: dict[str, Any], device: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    return about, _GOOD | header, DEVICE | (device or {}), fault


HEADERS = (
    _asked("the next version", "good-refused", {}),
    _asked("a pump's image", "product-not-compared", {"product": "pump-controller"}),
    _asked("one for course-node-pro", "product-not-compared", {"product": "course-node-pro"}),
    _asked("one for course", "product-not-compared", {"product": "course"}),
    _asked("one for Course-Node", "product-not-compared", {"product": "Course-Node"}),
    _asked("one for newer boards", "hardware-not-compared", {"hardware_min": 3, "hardware_max": 5}),
    _asked("one for older boards", "hardware-not-compared", {"hardware_min": 1, "hardware_max": 1}),
    _asked("for exactly this board", "good-refused", {"hardware_min": 2, "hardware_max": 2}),
    _asked("secure version 2", "secure-version-not-compared", {"secure_version": 2}),
    _asked("secure version 10", "compared-as-words", {"secure_version": 10}),
    _asked("1.8.9", "downgrade", {"version": "1.8.9"}),
    _asked("1.9.0 again", "same-again", {"version": "1.9.0"}),
    _asked("1.10.0", "compared-as-words", {"version": "1.10.0"}),
    _asked("10.0.0", "compared-as-words", {"version": "10.0.0"}),
    _asked("1.9.9 on 1.10.0", "compared-as-words", {"version": "1.9.9"}, {"version": "1.10.0"}),
    _asked("2.0.0 on 1.10.0", "compared-as-words", {"version": "2.0.0"}, {"version": "1.10.0"}),
    _asked("2.0.0 on 1.400.65535", "compared-as-words", {"version": "2.0.0"}, {"version": "1.400.65535"}),
    _asked("a pump's image on a pump", "knows-one-device", {"product": "pump-controller"}, {"product": "pump-controller"}),
    _asked("the same update on a board of revision 5", "knows-one-device", {}, {"hardware": 5}),
    _asked("secure version 3 on a device with 4", "knows-one-device", {}, {"secure_version": 4}),
    _asked("a pump's, for newer boards", "other-order", {"product": "pump-controller", "hardware_min": 3}),
    _asked("for newer boards, with the hole", "other-order", {"hardware_min": 3, "secure_version": 2}),
    _asked("a pump's old image", "other-order", {"product": "pump-controller", "version": "1.0.0", "secure_version": 0}),
    _asked("old, with the hole", "other-order", {"version": "1.8.0", "secure_version": 2}),
)  # fmt: skip
"""Headers, devices, and the mistake of somebody who decides otherwise."""


def decided(header: dict[str, Any], device: dict[str, Any]) -> str:
    """Return what our own policy says to the fields of a header on a device."""
    found = decide(
        Header(
            header["product"], header["hardware_min"], header["hardware_max"], Version.parse(header["version"]),
            header["secure_version"], SMALLEST_IMAGE, bytes(32), bytes(8),
        ),
        Target(
            device["product"], device["hardware"], Version.parse(device["version"]), device["secure_version"]
        ),
    )  # fmt: skip
    return "ok" if found.reason == ACCEPTED else found.reason


def _check_policy(lab: Lab) -> CheckResult:
    """Let the reader's function decide on the same headers."""
    cases = [Case(about, (header, device), decided(header, device), fault) for about, header, device, fault in HEADERS]  # fmt: skip
    return questioned(
        lab, "may_take", cases,
        expected="ok, or the first reason to refuse, in the order of the list",
        looks={
            "good-refused": "nothing speaks against this one: which line refuses it?",
            "product-not-compared": "when is a name the same as another one?",
            "knows-one-device": "another device asks: which of its values stands in your lines as a number or a word?",
            "hardware-not-compared": "a range has two ends",
            "secure-version-not-compared": "below the device's secure version nothing is taken",
            "compared-as-words": "10 is more than 9, '10' is not more than '9', and the first number decides alone if it differs",
            "downgrade": "what is older is refused, however well it is signed",
            "same-again": "newer means newer",
            "other-order": "more than one thing is wrong with this one; which of them comes first in the list?",
        },
        passed=f"{len(HEADERS)} headers, and your policy decides like the devices'",
    )  # fmt: skip


# --- 4: what was signed -----------------------------------------------------------------------------------------------

RELEASED: dict[str, Any] = {"product": "course-node", "version": "1.1.1", "size": 124_096}
"""The header that the house has signed."""

RUNNING = Version(1, 1, 2)
"""What the device runs."""


def signed_text(header: dict[str, Any]) -> str:
    """Return the text that the printed format signs: its fields, one behind the other."""
    return f"{header['product']}{header['version']}{header['size']}"


def printed_header_verdict(header: dict[str, Any]) -> str:
    """Return what a device with the printed format says to a header that comes with the signature of `RELEASED`.

    Does not check: where a field ends and the next one begins. That is what it is here for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(signed_text(RELEASED).encode(), ec.ECDSA(hashes.SHA256()))
    try:
        key.public_key().verify(signature, signed_text(header).encode(), ec.ECDSA(hashes.SHA256()))
        version = Version.parse(header["version"])
    except InvalidSignature:
        return "signature-wrong"
    except ValueError:
        return "version-unreadable"
    if header["product"] != RELEASED["product"]:
        return "product-wrong"
    if version <= RUNNING:
        return "version-not-newer"
    return "header-size" if header["size"] < SMALLEST_IMAGE else ACCEPTED


def _check_forged(lab: Lab) -> CheckResult:
    """Give the reader's header to the printed format, with the signature that the house has made for another one."""
    try:
        given = laid(lab, "header.json")
    except FileNotFoundError:
        return not_attempted("complete forged(), then run the cell below it")
    expected = "a header that was never signed, newer than what runs, under the house's signature"
    if not isinstance(given, dict) or {k: type(v) for k, v in given.items()} != {k: type(v) for k, v in RELEASED.items()}:  # fmt: skip
        return failed(
            "not-a-header", f"{given!r}"[:120], expected=expected,
            advice="three fields: product and version are texts, size is a number",
        )  # fmt: skip
    verdict = printed_header_verdict(given)
    if verdict == ACCEPTED:
        return CheckResult(
            PASSED, observed=f"version {given['version']} was never signed, and the device takes it"
        )
    looks = {
        "signature-wrong": "the signed text must stay the same, letter by letter: print it for both headers",
        "version-unreadable": "a version is three numbers, none above 65,535 and none with a zero in front",
        "product-wrong": "leave the product whole; there is a seam further on",
        "version-not-newer": "the device runs 1.1.2; the signed text has figures enough for a newer one",
        "header-size": f"so small is no image: {SMALLEST_IMAGE} bytes are the least. Move fewer figures",
    }
    return failed(verdict, f"the device says {verdict}", expected=expected, advice=looks[verdict])


# --- 5: a plan for the roll-out ---------------------------------------------------------------------------------------

FLEET = tuple(f"sensor-{number:04}" for number in range(1000))
MOST_STEPS = 5
MOST_LOST = 10


def rolled_out(plan: Sequence[int], bad: frozenset[str]) -> tuple[int, int]:
    """Return how many devices a plan updates, and how many of those break, until it is through or was paused.

    A simulation: places and the rule that pauses are the update service's own, the devices are names.

    Args:
        plan: Shares in percent, one after the other. After each, the devices report.
        bad: The devices that break with this release.
    """
    taken: list[str] = []
    broken = 0
    for percent in plan:
        taken = [name for name in FLEET if place("course-node", name) < percent]
        broken = sum(name in bad for name in taken)
        if too_many_failures({"ok": len(taken) - broken, "boot-rolled-back": broken}):
            break
    return len(taken), broken


EVERY_FIFTH = frozenset(FLEET[::5])
"""Devices that break with the bad release."""

_ACCIDENTS = frozenset(FLEET[7::250])


def _check_plan(lab: Lab) -> CheckResult:
    """Roll a bad release and a good one out by the reader's plan."""
    try:
        plan = laid(lab, "plan.json")
    except FileNotFoundError:
        return not_attempted("complete plan(), then run the cell below it")
    expected = f"at most {MOST_STEPS} growing shares to 100; a release that breaks every fifth breaks at most {MOST_LOST}"
    if not isinstance(plan, list) or not plan or any(type(p) is not int or not 1 <= p <= 100 for p in plan):
        return failed("not-a-plan", f"{plan!r}"[:120], expected=expected, advice="a list of whole percents, from 1 to 100")  # fmt: skip
    if plan != sorted(set(plan)):
        return failed("not-growing", f"{plan}"[:120], expected=expected, advice="a share that was updated stays updated")  # fmt: skip
    if len(plan) > MOST_STEPS:
        return failed("too-slow", f"{len(plan)} steps", expected=expected, advice="a hole stays open until the last step; make bigger ones where it is safe")  # fmt: skip
    reached, _ = rolled_out(plan, _ACCIDENTS)
    if reached < len(FLEET):
        return failed("not-everybody", f"the good release stops at {reached} of {len(FLEET)} devices", expected=expected, advice="what is the last share?")  # fmt: skip
    reached, broken = rolled_out(plan, EVERY_FIFTH)
    if broken > MOST_LOST:
        return failed(
            "too-many-lost", f"the bad release breaks {broken} of {reached} devices before it is paused", expected=expected,
            advice="reports are looked at after a step: how many devices may be in the first one?",
        )  # fmt: skip
    return CheckResult(
        PASSED,
        observed=f"the bad release is paused with {broken} devices broken; the good one reaches all (a simulation)",
    )


MORE = (
    Check(
        "firmware-signing.3",
        "your policy takes what is for this device and newer, and gives the first reason to refuse all the rest",
        (
            "Say each line of the list aloud, then read the line of code: does it ask the same question?",
            "Names are compared whole, ranges at both ends, and versions as rows of numbers.",
            "tuple(map(int, text.split('.'))) makes a version comparable. Newer is more, not more or equal.",
        ),
        _check_policy,
        why="A signature says who; these four lines say whether. A slip in one of them is a downgrade for the whole fleet.",
        kind="bug-hunt",
        required=False,
        minutes=8,
    ),
    Check(
        "firmware-signing.4",
        "a header that nobody signed is taken under a signature that the house made for another one",
        (
            "Print signed_text for the header that was signed. Where does it say that a field ends?",
            "Two of the fields meet with a figure on both sides of the seam.",
            "Take figures from the front of the size, and put them behind the version.",
        ),
        _check_forged,
        why="A signature goes over bytes; if two meanings have the same bytes, both are signed.",
        kind="break-it",
        required=False,
        minutes=6,
    ),
    Check(
        "firmware-signing.5",
        f"by your plan a bad release breaks at most {MOST_LOST} of 1,000 devices, and a good one reaches all in {MOST_STEPS} steps",
        (
            "Look at the first step of the colleague's plan: how many devices have it before anybody has looked?",
            "Every fifth breaks, three failures are enough to pause: how many devices does that take?",
            "Begin with a percent or two, and let each step be several times the last one.",
        ),
        _check_plan,
        why="Your own bug is signed, too. The first step decides how many devices it costs.",
        kind="tweak",
        required=False,
        minutes=5,
    ),
)
