"""Burning Secure Boot V2: what, in which order, why so, and what a board would say after each step.

Fuses are for ever, so every step is rehearsed first: on a copy of fuses and flash the bits are burned and the board is
reset. A plan that ends with a board that does not boot says so before anything is burned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.board.bootloader import boot
from labkit.board.efuse_factory import SECURE_VERSION_3, version_text
from labkit.board.nor_flash import NorFlash
from labkit.board.verification import trusted_keys
from labkit.errors import BurnRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.board.efuse import Efuses
    from labkit.outcome import Outcome

MOST_KEYS = {"esp32": 1, "esp32c3": 3}
_USER = 0
_DIGEST_PURPOSES = (9, 10, 11)


@dataclass(frozen=True, slots=True)
class Step:
    """One burn.

    Attributes:
        title: What it does.
        why: Why it is done, and done now.
        words: What espefuse is told; `KEY0` to `KEY2` stand for the files of the keys.
        burns: The fuses that it sets.
        after: What a reset would come to after it, and after all steps before it.
    """

    title: str
    why: str
    words: tuple[str, ...]
    burns: Mapping[str, int | bytes]
    after: Outcome


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong order or a wrong burn, tried on a copy.

    Attributes:
        title: What somebody does.
        why: What comes of it.
        after: What the board says from then on.
    """

    title: str
    why: str
    after: Outcome


def rehearse(flash: NorFlash, efuses: Efuses, burns: Mapping[str, int | bytes]) -> Outcome:
    """Return what a reset would come to if fuses were burned; the board itself is not touched.

    Raises:
        EfuseProtectedError: They can't be burned any more.
    """
    tried = efuses.copy()
    tried.burn(burns)
    return boot(NorFlash(flash.image(), size=flash.size), tried).outcome


def plan(
    flash: NorFlash, efuses: Efuses, digests: Sequence[bytes], *, lock: bool = False
) -> tuple[Step, ...]:
    """Return the steps that make a board start nothing but what these keys signed.

    Args:
        flash: Its flash, with signed bootloader and application already there.
        efuses: Its fuses.
        digests: Of the public keys, as `espsecure digest-sbv2-public-key` writes them.
        lock: Close debugger and serial loader too, which comes last.

    Raises:
        BurnRefusedError: `rule` is `revision`, `keys`, `enabled`, `another-key` or `no-free-block`.
    """
    chip = efuses.chip.name
    if chip == "esp32" and efuses.revision < SECURE_VERSION_3:
        raise _refused(
            "revision", f"an ESP32 of revision {version_text(efuses.revision)} has no Secure Boot V2"
        )
    if not 1 <= len(digests) <= MOST_KEYS[chip] or len(set(digests)) != len(digests):
        raise _refused(
            "keys", f"{len(digests)} keys; {efuses.chip.title} takes 1 to {MOST_KEYS[chip]}, each once"
        )
    if efuses.secure_boot_enabled:
        raise _refused("enabled", "Secure Boot is on already")
    drafts = _esp32(efuses, digests[0]) if chip == "esp32" else _later(efuses, digests)
    if lock:
        drafts += _LOCKS[chip]
    done: dict[str, int | bytes] = {}
    steps = []
    for title, why, words, burns in drafts:
        done = _together(done, burns, efuses)
        steps.append(Step(title, why, words, burns, rehearse(flash, efuses, done)))
    return tuple(steps)


_Draft = tuple[str, str, tuple[str, ...], dict[str, "int | bytes"]]


def _together(
    done: Mapping[str, int | bytes], burns: Mapping[str, int | bytes], efuses: Efuses
) -> dict[str, int | bytes]:
    """Return all burns so far; protection bits add up, and count what is burned already."""
    total = dict(done)
    for name, value in burns.items():
        had = total.get(name, efuses.field(name) if name == "WR_DIS" else 0)
        both = isinstance(had, int) and isinstance(value, int)
        total[name] = had | value if both else value  # type: ignore[operator]
    return total


_PROTECT: _Draft = (
    "Let nobody hide a digest",
    (
        "Whoever read-protects a digest's block makes the ROM read zeros: a brick. So RD_DIS is write-protected. A key of "
        "flash encryption has to be burned before this, for it needs read protection."
    ),
    ("write-protect-efuse", "RD_DIS"),
    {"WR_DIS": 1},
)


def _protection(efuses: Efuses) -> list[_Draft]:
    return [] if _bit(efuses.field("WR_DIS"), 0) else [_PROTECT]


def _esp32(efuses: Efuses, digest: bytes) -> list[_Draft]:
    if any(efuses.block("BLOCK2")) and efuses.block("BLOCK2") != digest:
        raise _refused("no-free-block", "BLOCK2 holds another digest")
    trust: _Draft = (
        "Trust the key",
        "The ROM knows a key by the digest in BLOCK2 alone. Before Secure Boot is on this changes nothing.",
        ("burn-key-digest", "KEY0"),
        {"BLOCK2": digest},
    )
    switch: _Draft = (
        "Switch Secure Boot on",
        "From the next reset on only what the key signed starts. There is no way back.",
        ("burn-efuse", "ABS_DONE_1", "1"),
        {"ABS_DONE_1": 1},
    )
    return [*([] if any(efuses.block("BLOCK2")) else [trust]), *_protection(efuses), switch]


def _free_blocks(efuses: Efuses) -> list[int]:
    return [
        n
        for n, purpose in enumerate(efuses.key_purposes)
        if purpose == _USER and not any(efuses.block(f"BLOCK_KEY{n}"))
    ]


def _free_slots(efuses: Efuses) -> list[int]:
    taken = {held.index for held in efuses.secure_boot_digests}
    return [n for n in range(3) if n not in taken and not efuses.field(f"SECURE_BOOT_KEY_REVOKE{n}")]


def _later(efuses: Efuses, digests: Sequence[bytes]) -> list[_Draft]:
    held = {one.digest for one in efuses.secure_boot_digests if not one.revoked}
    if held - set(digests):
        raise _refused("another-key", "it trusts a key already that is none of yours")
    new = [(number, digest) for number, digest in enumerate(digests) if digest not in held]
    free, slots = _free_blocks(efuses), _free_slots(efuses)
    if min(len(free), len(slots)) < len(new):
        raise _refused(
            "no-free-block",
            f"{min(len(free), len(slots))} blocks for keys are free, and {len(new)} are needed",
        )
    drafts: list[_Draft] = []
    for (number, digest), at, slot in zip(new, free, slots, strict=False):
        drafts.append(
            (
                f"Trust key {number}",
                "The ROM knows a key by its digest alone. Further keys are for the day when the first is lost.",
                ("burn-key-digest", f"BLOCK_KEY{at}", f"KEY{number}", f"SECURE_BOOT_DIGEST{slot}"),
                {f"BLOCK_KEY{at}": digest, f"KEY_PURPOSE_{at}": 9 + slot},
            )
        )
    if unused := slots[len(new) :]:
        names = [f"SECURE_BOOT_KEY_REVOKE{number}" for number in unused]
        drafts.append(
            (
                "Close the slots that are not used",
                "An empty slot that is not revoked is one that somebody else may fill.",
                ("burn-efuse", *(word for name in names for word in (name, "1"))),
                dict.fromkeys(names, 1),
            )
        )
    switch: _Draft = (
        "Switch Secure Boot on",
        "From the next reset on only what these keys signed starts. There is no way back.",
        ("burn-efuse", "SECURE_BOOT_EN", "1"),
        {"SECURE_BOOT_EN": 1},
    )
    return [*drafts, *_protection(efuses), switch]


_LOCKS: dict[str, list[_Draft]] = {
    "esp32": [
        (
            "Close the debugger",
            "JTAG reads memory and runs code past every check.",
            ("burn-efuse", "JTAG_DISABLE", "1"),
            {"JTAG_DISABLE": 1},
        ),
        (
            "Close the serial loader",
            "Last of all: after this no tool burns or reads anything, and firmware comes by update alone.",
            ("burn-efuse", "UART_DOWNLOAD_DIS", "1"),
            {"UART_DOWNLOAD_DIS": 1},
        ),
    ],
    "esp32c3": [
        (
            "Close the debugger",
            "JTAG, over pads and over USB, reads memory and runs code past every check.",
            ("burn-efuse", "DIS_PAD_JTAG", "1", "DIS_USB_JTAG", "1"),
            {"DIS_PAD_JTAG": 1, "DIS_USB_JTAG": 1},
        ),
        (
            "Leave the serial loader only what it needs",
            "Secure Download Mode still writes flash, and reads nothing. Last of all: espefuse sees no fuse any more.",
            ("burn-efuse", "ENABLE_SECURITY_DOWNLOAD", "1"),
            {"ENABLE_SECURITY_DOWNLOAD": 1},
        ),
    ],
}


def mistakes(flash: NorFlash, efuses: Efuses, digest: bytes) -> tuple[Mistake, ...]:
    """Return what becomes of this board if it is burned wrongly, each tried on a copy.

    Args:
        flash: Its flash.
        efuses: Its fuses, before Secure Boot; where a digest is burned already, what can't go wrong any more is left out.
        digest: Of the key that signed what is in flash.
    """
    esp32 = efuses.chip.name == "esp32"
    on = {"ABS_DONE_1" if esp32 else "SECURE_BOOT_EN": 1}
    begun = bool(efuses.secure_boot_digests)
    block = 2 if esp32 else next(iter(_free_blocks(efuses)), 0)

    def trust(value: bytes) -> dict[str, int | bytes]:
        if begun:
            return {}
        return {"BLOCK2": value} if esp32 else {f"BLOCK_KEY{block}": value, f"KEY_PURPOSE_{block}": 9}

    before_the_key: list[tuple[str, str, dict[str, int | bytes]]] = [
        ("Secure Boot before the key", "the ROM trusts nobody, so nothing starts", {**on}),
        (
            "The digest of another key",
            "what is in flash was signed by a key that the ROM does not know",
            {**trust(bytes(byte ^ 0xFF for byte in digest)), **on},
        ),
    ]
    tried = [
        *([] if begun else before_the_key),
        (
            "The digest read-protected",
            "a digest is no secret, and the ROM reads it like anybody: it reads zeros",
            {**trust(digest), **on, "RD_DIS": _hiding(efuses, block)},
        ),
    ]
    if _bit(efuses.field("WR_DIS"), 0):
        tried.pop()  # nobody can hide a digest any more
    found = [Mistake(title, why, rehearse(flash, efuses, burns)) for title, why, burns in tried]
    blank = NorFlash(size=flash.size)
    empty = rehearse(blank, efuses, {**trust(digest), **on})
    return (*found, Mistake("Fuses before the signed bootloader", "there is nothing to start yet", empty))


def _hiding(efuses: Efuses, block: int) -> int:
    """Return the bits of RD_DIS that hide the digests which a board holds, or the one that it gets in a block."""
    if efuses.chip.name == "esp32":
        return 2
    held = [n for n, purpose in enumerate(efuses.key_purposes) if purpose in _DIGEST_PURPOSES]
    return sum(1 << n for n in held or [block])


def status(efuses: Efuses) -> dict[str, object]:
    """Return what a board's fuses say about Secure Boot, by name."""
    trusted = {key.digest for key in trusted_keys(efuses) if not key.revoked}
    keys = []
    for digest in efuses.secure_boot_digests:
        state = "revoked" if digest.revoked else "trusted" if digest.digest in trusted else "hidden"
        keys.append(f"{digest.index}: {digest.digest.hex()} {state}")
    return {
        "Secure Boot V2": "on" if efuses.secure_boot_enabled else "off",
        "keys": keys,
        "digests can be hidden": not _bit(efuses.field("WR_DIS"), 0),
        "security version": efuses.secure_version,
        "debugger": "closed" if efuses.jtag_disabled else "open",
        "serial loader": efuses.download,
        "flash encryption": "on" if efuses.flash_encryption_enabled else "off",
    }


def _bit(word: int, number: int) -> bool:
    return bool(word >> number & 1)


def _refused(rule: str, why: str) -> BurnRefusedError:
    return BurnRefusedError(
        f"This board can't be burned so: {why}.",
        advice="Look at its fuses: labkit board secure-boot status",
        rule=rule,
    )
