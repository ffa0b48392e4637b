"""Lesson esp32-flashing: the exercises for whoever wants more: keys in a dump, a table of partitions, and four fuses."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

from labkit.board.chips import find_chip
from labkit.board.efuse import Efuses
from labkit.course.lesson import PASSED, Check, CheckResult
from labkit.course.shelf import Case, failed, laid, not_attempted, questioned
from labkit.errors import EfuseProtectedError, EfuseUnknownError, PartitionRefusedError
from labkit.firmware.partitions import COURSE_TABLE, PartitionTable, parse_csv

if TYPE_CHECKING:
    from labkit.course.lab import Lab

# --- 3: keys in a dump --------------------------------------------------------------------------------------------------


def _pem(label: str, number: int) -> bytes:
    """Return what looks like PEM and opens nothing: its body is noise, the same at each call."""
    body = base64.encodebytes(hashlib.sha512(bytes([number])).digest() * 2)
    return f"-----BEGIN {label}-----\n".encode() + body + f"-----END {label}-----\n".encode()


_KEY = "PRIVATE KEY"
_ERASED = b"\xff" * 64
_TORN = f"-----BEGIN {_KEY}-----\nMIGHAgEAMBMG".encode() + b"\0" * 20

DUMPS: tuple[tuple[str, bytes, str], ...] = (
    ("erased flash", _ERASED, "nothing-there"),
    ("a key between other bytes", _ERASED + _pem(_KEY, 1) + _ERASED, "wrong-offsets"),
    ("a key at the very beginning", _pem(_KEY, 2), "wrong-offsets"),
    ("a certificate, and no key", b"\xe9\x05" + _pem("CERTIFICATE", 3) + _ERASED, "takes-certificates"),
    ("a certificate, and its key behind it", _pem("CERTIFICATE", 4) + b"\0" + _pem(_KEY, 5), "takes-certificates"),
    ("the key of this year, and that of last year", _pem(_KEY, 8) + b"\0" * 9 + _pem(_KEY, 9) + _ERASED, "first-only"),
    ("keys of both kinds of the old form", _pem("EC PRIVATE KEY", 6) + _ERASED + _pem("RSA PRIVATE KEY", 7), "one-kind"),
    ("a key whose end was written over", _ERASED + _TORN, "torn"),
    ("the rest of an old key, and a whole one", _TORN + _pem(_KEY, 10) + _ERASED, "torn"),
)  # fmt: skip
"""Dumps, and the mistake of somebody who finds other keys in them."""

_FOUND = re.compile(rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----\s[A-Za-z0-9+/=\s]+-----END \1-----")


def whole_keys(dump: bytes) -> list[list[int]]:
    """Return where each whole private key in PEM begins, and the first byte behind it."""
    return [[*found.span()] for found in _FOUND.finditer(dump)]


def _check_dump(lab: Lab) -> CheckResult:
    """Let the reader's function look at the same dumps."""
    cases = [Case(about, (dump,), whole_keys(dump), fault) for about, dump, fault in DUMPS]
    return questioned(
        lab, "find_keys", cases,
        expected="a pair for each whole key: where -----BEGIN begins, and where its -----END …----- ends",
        looks={
            "nothing-there": "a dump without a key has an empty list",
            "wrong-offsets": "dump[begin:end] begins and ends with five dashes; the newline behind them is not part of it",
            "takes-certificates": "what stands between BEGIN and the dashes?",
            "one-kind": "older tools write a word before PRIVATE KEY",
            "first-only": "where do you go on looking after a key?",
            "torn": "between BEGIN and END of a whole key stand letters, digits, +, / and =, and white space; nothing else",
        },
        passed=f"{len(DUMPS)} dumps, and you found every whole key",
    )  # fmt: skip


# --- 4: a table of partitions -------------------------------------------------------------------------------------------

COLLEAGUE = """\
# Name,   Type, SubType,  Offset,   Size,     Flags
nvs,      data, nvs,      0x9000,   0x6000
otadata,  data, ota,      0xd000,   0x2000
phy_init, data, phy,      0xf000,   0x1000
fctry,    data, nvs,      0x10000,  0x6000
nvs_keys, data, nvs_keys, 0x16000,  0x1000,   encrypted
ota_0,    app,  ota_0,    0x18000,  0x1e0000
ota_1,    app,  ota_1,    0x230000, 0x1e0000
"""
"""A table with three mistakes."""

_LOOKS = {
    "overlap": "add offset and size, line by line: where does each part end?",
    "alignment": "an application begins at a whole 0x10000",
    "flash-size": "the flash has 4 MB, 0x400000; where does the last part end?",
}


def _check_table(lab: Lab) -> CheckResult:
    """Read the mended table, and compare what it holds with what the device needs."""
    try:
        given: Any = laid(lab, "table.json")
    except FileNotFoundError:
        return not_attempted("complete table(), then run the cell below it")
    expected = "the same seven parts, none smaller than the device needs, in 4 MB"
    if not isinstance(given, str):
        return failed("not-a-table", f"{given!r}"[:120], expected=expected, advice="return the text of a CSV")
    try:
        table = parse_csv(given)
    except PartitionRefusedError as error:
        look = _LOOKS.get(error.rule, "five columns and flags, as in the colleague's lines")
        fault = error.rule if error.rule in _LOOKS else "not-a-table"
        return failed(fault, error.message, expected=expected, advice=look)
    if _kinds(table) != _kinds(COURSE_TABLE):
        return failed(
            "other-parts", ", ".join(part.label for part in table) or "no parts", expected=expected,
            advice="the firmware looks for each part by its name, type and subtype",
        )  # fmt: skip
    for part in COURSE_TABLE:
        mine = table.find(part.label)
        if mine is not None and mine.size < part.size:
            return failed(
                "cramped", f"{part.label} has {mine.size:#x} bytes, and needs {part.size:#x}", expected=expected,
                advice="there is room for everything; what can move instead of shrinking?",
            )  # fmt: skip
        if mine is not None and part.flags & ~mine.flags:
            return failed(
                "flag-lost", f"{part.label} is not marked as the course's is", expected=expected,
                advice="what do the last columns of the colleague's lines say, and what would lie in the open without it?",
            )  # fmt: skip
    return CheckResult(
        PASSED, observed="seven parts in 4 MB, none in another's way, and each as large as it must be"
    )


def _kinds(table: PartitionTable) -> set[tuple[str, int, int]]:
    return {(part.label, part.type, part.subtype) for part in table}


# --- 5: four fuses ------------------------------------------------------------------------------------------------------

FUSES = ("RD_DIS", "WR_DIS", "FLASH_CRYPT_CNT", "JTAG_DISABLE")
"""What the reader may burn."""


def development_chip() -> Efuses:
    """Return the fuses of an ESP32 whose flash is encrypted, and that nobody has locked: a model."""
    efuses = Efuses.fresh(find_chip("esp32"), mac=bytes.fromhex("24dcc3000010"))
    key = hashlib.sha256(b"a key of the model").digest()
    efuses.burn({"FLASH_CRYPT_CONFIG": 15, "FLASH_CRYPT_CNT": 1, "BLOCK1": key})
    return efuses


def _switch(efuses: Efuses) -> bool:
    """Return whether somebody with a cable can switch the encryption off."""
    tried = efuses.copy()
    count = tried.field("FLASH_CRYPT_CNT")
    try:
        tried.burn({"FLASH_CRYPT_CNT": count | (count + 1)})  # the lowest bit that is left
    except (EfuseProtectedError, EfuseUnknownError):
        return False
    return not tried.flash_encryption_enabled


def _check_fuses(lab: Lab) -> CheckResult:
    """Burn the reader's values into a model of the chip, and try what a thief would."""
    try:
        given: Any = laid(lab, "fuses.json")
    except FileNotFoundError:
        return not_attempted("complete fuses(), then run the cell below it")
    expected = "no program reads the key, nobody switches the encryption off, no debugger gets in, and the chip still works"
    if (
        not isinstance(given, dict)
        or not set(given) <= set(FUSES)
        or any(type(bits) is not int for bits in given.values())
    ):
        return failed(
            "not-fuses",
            f"{given!r}"[:120],
            expected=expected,
            advice=f"numbers for some of {', '.join(FUSES)}",
        )
    efuses = development_chip()
    key = efuses.flash_encryption_key
    if not any(efuses.visible(1)) or not _switch(efuses):  # pragma: no cover - the control
        return failed(
            "no-control", "the chip is locked already", expected=expected, advice="tell the maintainers"
        )
    try:
        efuses.burn(given)
    except (EfuseProtectedError, EfuseUnknownError) as error:
        return failed(
            "cannot-burn",
            error.message,
            expected=expected,
            advice="a bit that is 1 stays 1; how wide is the field?",
        )
    if not efuses.flash_encryption_enabled or efuses.flash_encryption_key != key:
        return failed(
            "switched-off", f"FLASH_CRYPT_CNT has {efuses.field('FLASH_CRYPT_CNT').bit_count()} bits set: the encryption is off, and the board starts nothing",
            expected=expected, advice="an odd number of bits is on, an even one is off",
        )  # fmt: skip
    if efuses.visible(1).strip(b"\0"):
        return failed(
            "key-readable",
            "a program on the chip reads the key of the flash",
            expected=expected,
            advice="which field hides blocks, and which bit of it hides BLOCK1?",
        )
    if _switch(efuses):
        return failed(
            "can-be-switched-off",
            "one more bit in FLASH_CRYPT_CNT, and the chip takes plain text again",
            expected=expected,
            advice="two ways: leave no bit to burn, or let nobody burn this field",
        )
    if not efuses.jtag_disabled:
        return failed(
            "debugger",
            "a debugger gets in and reads what the chip has decrypted",
            expected=expected,
            advice="one of the four fields is about that",
        )
    return CheckResult(
        PASSED,
        observed="the key is hidden, the encryption stays on, no debugger gets in (a model of the chip)",
    )


MORE = (
    Check(
        "esp32-flashing.3",
        "your function finds every whole private key in a dump, and nothing else",
        (
            "A key in PEM has a first line, a last line, and base64 between them.",
            "PRIVATE KEY can have a word before it: EC, RSA. CERTIFICATE is none of them.",
            "re.finditer over bytes, with a class of characters between the lines and not a dot; found.span() has both places.",
        ),
        _check_dump,
        why="What you can find in a dump, everybody with a cable can; look before you ship.",
        kind="break-it",
        required=False,
        minutes=8,
    ),
    Check(
        "esp32-flashing.4",
        "your table has the seven parts that the device needs, none in another's way, in 4 MB",
        (
            "Three lines are wrong, each for another reason.",
            "Ends are offset plus size. Applications begin at a multiple of 0x10000.",
            "You may leave an offset blank: then the part follows the one before, and an application at the next 0x10000.",
        ),
        _check_table,
        why="esptool writes whatever offset it is told; an overlap is found by the first device that forgets something.",
        kind="bug-hunt",
        required=False,
        minutes=6,
    ),
    Check(
        "esp32-flashing.5",
        "with your fuses no program reads the key, nobody switches the encryption off, no debugger gets in, and the chip works",
        (
            "Each field does one thing: hide blocks, hold fields, count switches, keep debuggers out.",
            "Bit 0 of RD_DIS hides BLOCK1. FLASH_CRYPT_CNT counts in bits: 1, 3, 7, and so on; it has seven.",
            "Either burn all bits of the counter, or bit 2 of WR_DIS, which holds it. The other two fields are simple.",
        ),
        _check_fuses,
        why="Encryption that a thief can switch off by one more bit protects nothing, and fuses get no second try.",
        kind="defend-it",
        required=False,
        minutes=6,
    ),
)
