"""Exercise 1 of lesson firmware-signing: updates for the reader's function, and what has to come of each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from labkit.course.lesson import CheckResult
from labkit.course.shelf import failed, not_attempted
from labkit.display import Table
from labkit.errors import UpdateRefusedError
from labkit.firmware.update import (
    HEADER_LENGTH,
    Header,
    TrustedKeys,
    Version,
    decide,
    parse_header,
    verify_signature,
)
from labkit.scenarios.printed_verifier import Images, Museum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from labkit.course.lab import Lab

    class Take(Protocol):
        """The reader's function of exercise 1."""

        def __call__(self, chunks: Iterator[bytes], slot: Slot, verify: Callable[[bytes], Header]) -> object:
            """Put an update's image into a slot; return `ok`, or the reason for refusing."""


SHELF = "answers/firmware-signing"
PATIENCE_BYTES = 1 << 16
"""So many bytes too many are offered before an endless stream gives up on a function that goes on reading."""

SIZES = (1, 100, 192, 4096)
_PRODUCT = "course-node"


class Slot:
    """A slot that notes what is written into it. Of the image it holds no more than a real one: all of it.

    Attributes:
        written: What was written.
        longest: The longest piece.
    """

    def __init__(self) -> None:
        self.written = b""
        self.longest = 0

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self.written += bytes(data)
        self.longest = max(self.longest, len(data))


def try_take(lab: Lab, take: Take) -> Table:
    """Give a good update and hostile ones to the reader's function, and put down what it did.

    Args:
        lab: The lab.
        take: The reader's function.

    Returns:
        What became of each.
    """
    cases = _cases()
    told: dict[str, Any] = {}
    for name, (chunks, _, _) in cases.items():
        told[name] = _given(take, chunks, cases[name][1])
    lab.workspace.write_json(f"{SHELF}/take.json", told)
    rows = [(name, each["reason"], f"{each['length']:,}") for name, each in told.items()]
    return Table("What your function said, and wrote", ("update", "it said", "bytes in the slot"), rows)


def _given(take: Take, chunks: Iterator[bytes], verify: Callable[[bytes], Header]) -> dict[str, Any]:
    slot = Slot()
    try:
        reason = take(chunks, slot, verify)
    except UpdateRefusedError as error:
        reason = f"raised {error.rule}"
    return {
        "reason": str(reason),
        "length": len(slot.written),
        "longest": slot.longest,
        "sha256": hashlib.sha256(slot.written).hexdigest(),
    }


def _cases() -> dict[str, tuple[Iterator[bytes], Callable[[bytes], Header], tuple[str, bytes]]]:
    """Return the updates by name: chunks, the verifier of their header, and what is to come of it: reason and slot."""
    image = hashlib.shake_128(b"exercise 1").digest(6_000)
    blank = Images(*[(image, Version(1, minor, 0)) for minor in (4, 5, 3, 5)])
    museum = Museum(blank)
    verify = _verifier(museum)
    good = museum.ours(image, Version(1, 5, 0))
    # The digest counts what is in the slot, so each of these is told from the good one in another place.
    found = {f"good, in chunks of {size}": (_pieces(good, size), verify, ("ok", image)) for size in SIZES}
    foreign = museum.ours(image, Version(1, 5, 0), "pump-controller")
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    return found | {
        "another product's": (_pieces(foreign, 100), verify, ("raised product-wrong", b"")),
        "one bit flipped": (_pieces(flipped, 100), verify, ("image-digest", flipped[HEADER_LENGTH:])),
        "cut short": (_pieces(good[:-700], 100), verify, ("image-short", image[:-700])),
        "cut within the header": (_pieces(good[:150], 100), verify, ("image-short", b"")),
        "without an end": (_endless(good), verify, ("image-long", b"")),
        "one byte too long": (_pieces(good + b"\0", 100), verify, ("image-long", b"")),
    }


def _verifier(museum: Museum) -> Callable[[bytes], Header]:
    trusted = TrustedKeys.of([museum.our_key.public])  # type: ignore[list-item]

    def verify(head: bytes) -> Header:
        """Return the header of an update, or raise UpdateRefusedError: parsed, signature verified, policy asked."""
        signed = parse_header(head)
        verify_signature(signed, trusted)
        outcome = decide(signed.header, museum.target)
        if not outcome.accepted:
            raise UpdateRefusedError(outcome.reason, advice="", rule=outcome.reason, stage=outcome.stage)
        return signed.header

    return verify


def _pieces(update: bytes, size: int) -> Iterator[bytes]:
    return (update[at : at + size] for at in range(0, len(update), size))


def _endless(update: bytes) -> Iterator[bytes]:
    yield from _pieces(update, 512)
    for _ in range(PATIENCE_BYTES // 512):
        yield b"\xee" * 512


def check_take(lab: Lab) -> CheckResult:
    """Compare what was put down with what has to come of each update."""
    try:
        told = lab.workspace.read_json(f"{SHELF}/take.json")
    except FileNotFoundError:
        return not_attempted("complete take(), then run the cell below it")
    wanted = {name: (reason, slot) for name, (_, _, (reason, slot)) in _cases().items()}
    if not isinstance(told, dict) or set(told) != set(wanted) or not all(map(_is_told, told.values())):
        return failed(
            "another-file", "the file on the shelf is not what try_take writes", expected="what became of each update",
            advice="run it again",
        )  # fmt: skip
    for name, (reason, slot) in wanted.items():
        found = _judge_take(name, told[name], reason, slot)
        if found is not None:
            return found
    return CheckResult("passed", observed=f"{len(wanted)} updates, each taken or refused for its reason")


def _is_told(each: Any) -> bool:
    kinds = {"reason": str, "length": int, "longest": int, "sha256": str}
    return isinstance(each, dict) and {key: type(value) for key, value in each.items()} == kinds


_LOOKS = {
    "ok": ("good-refused", "which bytes belong to the header, and which of the same chunk already to the image?"),
    "raised product-wrong": ("refusal-swallowed", "let what verify() raises pass through"),
    "image-long": ("no-limit", "when do you know that there are too many bytes? not at the end, which never comes"),
    "image-short": ("length-not-counted", "how many bytes have come, and how many does the header promise?"),
    "image-digest": ("digest-not-compared", "which of header's fields says what the image has to be?"),
}  # fmt: skip
"""By what has to come of an update: the mistake of whoever says otherwise, and where to look."""


def _judge_take(name: str, each: dict[str, Any], reason: str, slot: bytes) -> CheckResult | None:
    if each["reason"] != reason:
        fault, look = _LOOKS[reason]
        return failed(fault, f"{name}: your function says {each['reason']!r}", expected="another verdict", advice=look)  # fmt: skip
    if reason == "image-long":
        # Up to the header's size bytes may be there, and not one more.
        if each["length"] <= 6_000:
            return None
        return failed(
            "written-too-much", f"{name}: {each['length']:,} bytes are in the slot", expected="at most what the header promises",
            advice="compare before you write",
        )  # fmt: skip
    if each["sha256"] != hashlib.sha256(slot).hexdigest():
        return failed(
            "slot-differs", f"{name}: {each['length']:,} bytes are in the slot, and they are others",
            expected=f"{len(slot):,} bytes" if slot else "an untouched slot", advice="what do you write, and when?",
        )  # fmt: skip
    size = int(name.rpartition(" ")[2]) if reason == "ok" else 0
    if size and each["longest"] > size:
        return failed(
            "held-in-memory", f"{name}: one piece of {each['longest']:,} bytes was written",
            expected="pieces no longer than the chunks: a megabyte does not fit into memory", advice="write as you read",
        )  # fmt: skip
    return None
