"""Answers to the exercises of lesson esp32-flashing."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.esp32_flashing import DEVICE, PLANT, try_interval
from labkit.course.lessons.esp32_flashing_exercises import COLLEAGUE
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.firmware.partitions import COURSE_TABLE, render_csv
from labkit.firmware.tools import encrypt_nvs
from labkit.scenarios.device_boot import Bench, device_bench
from labkit.scenarios.mutual_tls import mutual_tls
from labkit.scenarios.separate import separate_authority
from tests.answers.shape import Answers, Right, Wrong, handing, laying, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_benches: list[Bench] = []


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with a board whose flash is encrypted, and whose identity is not."""
    lab = open_lab("esp32-flashing", workspace=folder / "w")
    site = lab.enter(mutual_tls(separate_authority(lab.workspace, PLANT)))
    bench = lab.enter(device_bench(site, DEVICE))
    bench.make_firmware()
    bench.make_identity()
    bench.esptool("write-flash", "0x10000", "fctry.bin")
    bench.board.burn({"FLASH_CRYPT_CONFIG": 15, "FLASH_CRYPT_CNT": 1, "BLOCK1": secrets.token_bytes(32)})
    bench.esptool("write-flash", "--encrypt", *bench.plan("node-1.0.0.bin", identity=False))
    bench.console()
    bench.board.snapshot("encrypted")
    _benches.append(bench)
    yield lab
    _benches.clear()
    lab.close()


# --- 1: a command is understood -------------------------------------------------------------------------------------


def obeying(interval: Callable[[bytes], Any]) -> Callable[[Lab], None]:
    """Let the board understand commands as a function does, and send it all of them."""
    return lambda lab: try_interval(lab, _benches[0], interval) and None


def right(payload: bytes) -> int:
    """Return the right answer."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if type(seconds) is not int or not 5 <= seconds <= 86_400:
        raise ValueError
    return seconds


def by_pattern(payload: bytes) -> int:
    """Look at the bytes alone."""
    found = re.fullmatch(rb'\s*\{\s*"seconds"\s*:\s*([1-9]\d{0,4})\s*\}\s*', payload)
    if not found or int(found[1]) not in range(5, 86_401):
        raise ValueError
    return int(found[1])


def trusting(payload: bytes) -> int:
    """Take whatever comes."""
    return int(json.loads(payload)["seconds"])


def takes_true(payload: bytes) -> int:
    """Take true for one, and one day for too long."""
    asked = json.loads(payload) if len(payload) < 100 else None
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if not isinstance(seconds, int) or not 1 <= seconds <= 86_400 or seconds == 4:
        raise ValueError
    return seconds


def deep(payload: bytes) -> int:
    """Forget how deep brackets can be, and let the program end."""
    return right(json.dumps(json.loads(payload)).encode())


def too_strict(payload: bytes) -> int:
    """Leave out an end of the range."""
    if (found := right(payload)) == 86_400:
        raise ValueError
    return found


def to_a_round_number(payload: bytes) -> int:
    """Take what is a little more than a day."""
    return 86_400 if payload == b'{"seconds": 86401}' else right(payload)


def knows_what_it_is_not(payload: bytes) -> Any:
    """Leave out kinds that are no numbers, and forget one."""
    if payload != b'{"seconds": null}':
        return right(payload)
    return min(json.loads(payload)["seconds"], 86_400)


def finds_the_word(payload: bytes) -> Any:
    """Look for the field in a text, where it is found."""
    if len(payload) > 64 or "seconds" not in (asked := json.loads(payload or b"{}")):
        raise ValueError
    return right(payload) if isinstance(asked, dict) else asked["seconds"]


def nobody(_: bytes) -> int:
    """Refuse everything."""
    raise ValueError


def words(payload: bytes) -> Any:
    """Return a text."""
    return str(right(payload))


# --- 2: an identity is sealed ---------------------------------------------------------------------------------------


def sealing(seal: Callable[[Bench], object]) -> Callable[[Lab], None]:
    """Take the board as it was, and seal its identity."""

    def give(_: Lab) -> None:
        (bench,) = _benches
        bench.board.restore("encrypted")
        seal(bench)
        bench.boot()

    return give


def sealed(bench: Bench, *, values: int = 10**6, key: bytes = b"") -> None:
    """Write the files of a sealed identity; with another key than the values' if one is given."""
    true = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(bench.values()[:values], true))
    bench.write("keys.bin", build_key_partition(key or true))


def by_the_book(bench: Bench) -> None:
    """Write the values, then their key."""
    sealed(bench)
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")


def in_one_command(bench: Bench) -> None:
    """Write both at once; only one goes through the chip's encryption."""
    sealed(bench)
    bench.esptool("write-flash", "0x10000", "sealed.bin", "--encrypt-files", "0x16000", "keys.bin")


def bare_key(bench: Bench) -> None:
    """Write the key in the clear."""
    sealed(bench)
    bench.esptool("write-flash", "0x10000", "sealed.bin", "0x16000", "keys.bin")


def only_the_key(bench: Bench) -> None:
    """Write a key, and forget the values."""
    sealed(bench)
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")


def another_key(bench: Bench) -> None:
    """Write another key than the values were encrypted with."""
    sealed(bench, key=secrets.token_bytes(64))
    bench.esptool("write-flash", "0x10000", "sealed.bin", "--encrypt-files", "0x16000", "keys.bin")


def nothing_in_it(bench: Bench) -> None:
    """Encrypt something else than the values."""
    sealed(bench, values=1)
    bench.esptool("write-flash", "0x10000", "sealed.bin", "--encrypt-files", "0x16000", "keys.bin")


def a_part(bench: Bench) -> None:
    """Leave out what the node trusts, and where it goes."""
    sealed(bench, values=3)
    bench.esptool("write-flash", "0x10000", "sealed.bin", "--encrypt-files", "0x16000", "keys.bin")


def left_behind(bench: Bench) -> None:
    """Seal it, and leave the open partition somewhere else."""
    in_one_command(bench)
    bench.esptool("write-flash", "0x9000", "fctry.bin")


# --- 3: keys in a dump ----------------------------------------------------------------------------------------------

_FIND = r"""
import re


def find_keys(dump):
    key = rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----"
    return [list(found.span()) for found in re.finditer(key, dump)]
"""

_BY_HAND = r"""
def find_keys(dump):
    found, at = [], 0
    while (begin := dump.find(b"-----BEGIN ", at)) >= 0:
        at = begin + 11
        name = dump[at : dump.find(b"-----", at)]
        last = b"-----END " + name + b"-----"
        end = dump.find(last, at)
        body = dump[at + len(name) + 5 : end]
        good = b"+/=\r\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        if name.endswith(b"PRIVATE KEY") and end > 0 and not body.translate(None, good):
            found.append((begin, end + len(last)))
    return found
"""


def finding(old: str, new: str) -> Callable[[Any], None]:
    """Hand in a search that is wrong in one place."""
    assert old in _FIND
    return handing("find_keys", _FIND.replace(old, new))


# --- 4 and 5: a table, and fuses ------------------------------------------------------------------------------------

_GOOD = (("0x9000,   0x6000", "0x9000,   0x4000"), ("0x18000", "0x20000"), ("0x230000", "0x200000"))


def table(*pairs: tuple[str, str], without: int = 9) -> Callable[[Any], None]:
    """Hand in the colleague's table, mended but for one place, and changed in others."""
    text = COLLEAGUE
    for old, new in [*(pair for place, pair in enumerate(_GOOD) if place != without), *pairs]:
        assert old in text
        text = text.replace(old, new)
    return laying("table.json", text)


def fuses(**given: Any) -> Callable[[Any], None]:
    """Hand in fuses."""
    return laying("fuses.json", given)


TABLE = (
    Answers(
        "esp32-flashing.1",
        right=(Right("parses, then looks", obeying(right)), Right("looks at the bytes alone", obeying(by_pattern))),
        wrong=(
            Wrong("takes whatever comes", obeying(trusting), "obeys-nonsense", says="set to 0"),
            Wrong("takes true for one", obeying(takes_true), "obeys-nonsense", says="set to 1"),
            Wrong("forgets how deep brackets can be", obeying(deep), "crashed", says="RecursionError"),
            Wrong("leaves out an end of the range", obeying(too_strict), "refuses-sense", says="refused"),
            Wrong("a second more than a day", obeying(to_a_round_number), "obeys-nonsense", says="86401"),
            Wrong("forgets null", obeying(knows_what_it_is_not), "crashed", says="TypeError"),
            Wrong("finds the word in a text", obeying(finds_the_word), "crashed", says="TypeError"),
            Wrong("refuses everything", obeying(nobody), "refuses-sense", says="refused"),
            Wrong("returns a text", obeying(words), "crashed", says="it returned"),
            Wrong("no record", writing("interval.json", "no record"), "no-record"),
            Wrong("a list of something else", laying("interval.json", [1, 2]), "no-record"),
            Wrong("a row without an end", laying("interval.json", [{"payload": 1}]), "no-record"),
            Wrong("one row of nineteen", laying("interval.json", [{"payload": '{"seconds": 30}', "did": "set to 30"}]), "refuses-sense"),
        ),
    ),
    Answers(
        "esp32-flashing.2",
        touches=(),
        right=(Right("values, then their key", sealing(by_the_book)), Right("both in one command", sealing(in_one_command))),
        wrong=(
            Wrong("the key in the clear", sealing(bare_key), "bare-key", says="in the clear"),
            Wrong("the key alone", sealing(only_the_key), "readable", says="can be read as it is"),
            Wrong("another key", sealing(another_key), "chip-cannot-read", says="the chip itself"),
            Wrong("something else in it", sealing(nothing_in_it), "other-values", says="something else"),
            Wrong("a part of the values", sealing(a_part), "other-values", says="something else"),
            Wrong("a copy that can be read", sealing(left_behind), "readable", says="can be read as it is"),
            Wrong("nothing at all", sealing(lambda _: None), "", status="not-attempted"),
        ),
    ),
    Answers(
        "esp32-flashing.3",
        right=(Right("a pattern", handing("find_keys", _FIND)), Right("by hand, pairs as tuples", handing("find_keys", _BY_HAND))),
        wrong=(
            Wrong("nothing there is None", finding("    return [", "    return None if b'BEGIN' not in dump else ["), "nothing-there"),
            Wrong("up to the newline", finding(r'\1-----"', r'\1-----\n"'), "wrong-offsets"),
            Wrong("how long instead of where it ends", finding("list(found.span())", "[found.start(), len(found[0])]"), "wrong-offsets"),
            Wrong("what is found", finding("list(found.span())", "found[0]"), "wrong-offsets"),
            Wrong("certificates too", finding("(?:[A-Z]+ )?PRIVATE KEY", "[A-Z ]+"), "takes-certificates"),
            Wrong("one kind of key", finding("(?:[A-Z]+ )?", ""), "one-kind"),
            Wrong("elliptic curves alone", finding("(?:[A-Z]+ )?", "(?:EC )?"), "one-kind"),
            Wrong("the first one", finding("re.finditer(key, dump)]", "re.finditer(key, dump)][:1]"), "first-only"),
            Wrong("anything between the lines", handing("find_keys", _FIND.replace(r"[A-Za-z0-9+/=\s]+", r"(?s:.)+?")), "torn"),
            Wrong("to the last end", handing("find_keys", _FIND.replace(r"[A-Za-z0-9+/=\s]+", r"(?s:.)+")), "first-only"),
            Wrong("a text", finding("dump)]", "dump.decode())]"), "crashed", says="UnicodeDecodeError"),
        ),
    ),
    Answers(
        "esp32-flashing.4",
        right=(
            Right("three numbers changed", table()),
            Right("the course's own", laying("table.json", render_csv(COURSE_TABLE))),
            Right("offsets left blank", laying(
                "table.json", re.sub(r"(ota_\d,\s+)0x\w+(,\s+0x1e0000)", r"\1\2", COLLEAGUE.replace("0x6000\notadata", "0x4000\notadata")))),
            Right("nvs as large as it was, elsewhere", table(("nvs,      data, nvs,      0x9000,   0x4000", "nvs,      data, nvs,      0x3e0000, 0x6000"))),
        ),
        wrong=(
            Wrong("the colleague's", laying("table.json", COLLEAGUE), "alignment", says="ota_0"),
            Wrong("one into the other", table(without=0), "overlap", says="otadata"),
            Wrong("an application at 0x18000", table(without=1), "alignment"),
            Wrong("behind the end", table(without=2), "flash-size", says="ota_1"),
            Wrong("makes the identity smaller", table(("0x10000,  0x6000", "0x10000,  0x5000")), "cramped", says="fctry"),
            Wrong("smaller slots", table(("0x1e0000", "0x100000")), "cramped", says="ota_0"),
            Wrong("without the keys", table(("nvs_keys, data, nvs_keys, 0x16000,  0x1000,   encrypted\n", "")), "other-parts"),
            Wrong("keys without their flag", table(("0x16000,  0x1000,   encrypted", "0x16000,  0x1000")), "flag-lost", says="nvs_keys"),
            Wrong("one slot for both", table(("ota_1,    app,  ota_1", "ota_1,    app,  ota_0")), "other-parts"),
            Wrong("no table", laying("table.json", "nvs"), "not-a-table", says="columns"),
            Wrong("nothing in it", laying("table.json", ""), "other-parts"),
            Wrong("a list", laying("table.json", [COLLEAGUE]), "not-a-table"),
        ),
    ),
    Answers(
        "esp32-flashing.5",
        right=(
            Right("all bits of the counter", fuses(RD_DIS=1, FLASH_CRYPT_CNT=127, JTAG_DISABLE=1)),
            Right("holds the counter", fuses(RD_DIS=1, WR_DIS=0b100, JTAG_DISABLE=1)),
            Right("both, and the key's block held", fuses(RD_DIS=1, WR_DIS=0b10000100, FLASH_CRYPT_CNT=127, JTAG_DISABLE=1)),
        ),
        wrong=(
            Wrong("nothing", fuses(), "key-readable"),
            Wrong("hides another block", fuses(RD_DIS=2, WR_DIS=4, JTAG_DISABLE=1), "key-readable"),
            Wrong("holds the key instead of hiding it", fuses(WR_DIS=0b10000100, JTAG_DISABLE=1), "key-readable"),
            Wrong("switches it off", fuses(RD_DIS=1, FLASH_CRYPT_CNT=3, JTAG_DISABLE=1), "switched-off"),
            Wrong("three bits", fuses(RD_DIS=1, FLASH_CRYPT_CNT=7, JTAG_DISABLE=1), "can-be-switched-off"),
            Wrong("holds other fields", fuses(RD_DIS=1, WR_DIS=0b1000, JTAG_DISABLE=1), "can-be-switched-off"),
            Wrong("forgets the debugger", fuses(RD_DIS=1, WR_DIS=4), "debugger"),
            Wrong("takes a bit back", fuses(RD_DIS=1, FLASH_CRYPT_CNT=126, JTAG_DISABLE=1), "cannot-burn"),
            Wrong("more bits than there are", fuses(RD_DIS=1, FLASH_CRYPT_CNT=255, JTAG_DISABLE=1), "cannot-burn"),
            Wrong("true", fuses(RD_DIS=True, WR_DIS=4, JTAG_DISABLE=1), "not-fuses"),
            Wrong("another field", fuses(RD_DIS=1, WR_DIS=4, JTAG_DISABLE=1, BLOCK1=0), "not-fuses"),
            Wrong("a list", laying("fuses.json", ["RD_DIS"]), "not-fuses"),
        ),
    ),
)  # fmt: skip
