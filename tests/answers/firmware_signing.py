"""Answers to the exercises of lesson firmware-signing."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from labkit.board.board_files import BoardFiles
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.firmware_signing import vault_folder
from labkit.course.lessons.firmware_signing_exercise import try_take
from labkit.errors import UpdateRefusedError
from labkit.scenarios.releases import ReleaseHouse
from labkit.workspace import Workspace
from tests.answers.shape import Answers, Right, Wrong, handing, laying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab."""
    lab = open_lab("firmware-signing", workspace=folder / "w")
    yield lab
    lab.close()
    house_beside.cache_clear()


# --- 1: a megabyte does not fit -------------------------------------------------------------------------------------


def right(chunks: Any, slot: Any, verify: Any) -> str:
    """Return the right answer."""
    head, header, received, digest = b"", None, 0, hashlib.sha256()
    for chunk in chunks:
        image = chunk
        if header is None:
            head += chunk
            if len(head) < 192:
                continue
            header, image = verify(head[:192]), head[192:]
        received += len(image)
        if received > header.size:
            return "image-long"
        slot.write(image)
        digest.update(image)
    if header is None or received < header.size:
        return "image-short"
    return "ok" if digest.digest() == header.digest else "image-digest"


def all_at_once(chunks: Any, slot: Any, verify: Any) -> str:
    """Gather everything first: what is printed."""
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) > 50_000:
            return "image-long"
    if len(data) < 192:
        return "image-short"
    header, image = verify(data[:192]), data[192:]
    slot.write(image)
    if len(image) < header.size:
        return "image-short"
    return "ok" if hashlib.sha256(image).digest() == header.digest else "image-digest"


def first_chunk_is_header(chunks: Any, slot: Any, verify: Any) -> str:
    """Believe that the network knows where the header ends."""
    chunks = iter(chunks)
    try:
        header = verify(next(chunks))
    except UpdateRefusedError:
        return "image-short"
    return "ok" if header else right(chunks, slot, verify)


def unhashed(chunks: Any, slot: Any, verify: Any) -> str:
    """Forget to compare the digest."""
    said = right(chunks, slot, verify)
    return "ok" if said == "image-digest" else said


def written_first(chunks: Any, slot: Any, verify: Any) -> str:
    """Write, and look afterwards."""

    class Late:
        def write(self, data: bytes) -> None:
            kept.append(data)

    kept: list[bytes] = []
    try:
        return right(chunks, Late(), verify)
    finally:
        for data in kept or [b"too early"]:
            slot.write(data)


def patient(chunks: Any, slot: Any, verify: Any) -> str:
    """Count at the end, which never comes."""
    received, head, header, digest = 0, b"", None, hashlib.sha256()
    for chunk in chunks:
        image = chunk
        if header is None:
            head += chunk
            if len(head) < 192:
                continue
            header, image = verify(head[:192]), head[192:]
        received += len(image)
        slot.write(image)
        digest.update(image)
    if header is None or received < header.size:
        return "image-short"
    if received > header.size:
        return "image-long"
    return "ok" if digest.digest() == header.digest else "image-digest"


def by_one_buffer(chunks: Any, slot: Any, verify: Any) -> str:
    """Cut the header off a buffer, and keep nothing in it afterwards."""
    buffer, header, left, digest = bytearray(), None, 0, hashlib.sha256()
    for chunk in chunks:
        buffer += chunk
        if header is None and len(buffer) >= 192:
            header = verify(bytes(buffer[:192]))
            left = header.size
            del buffer[:192]
        if header is not None and buffer:
            if len(buffer) > left:
                return "image-long"
            slot.write(bytes(buffer))
            digest.update(buffer)
            left -= len(buffer)
            buffer.clear()
    if header is None or left:
        return "image-short"
    return "ok" if digest.digest() == header.digest else "image-digest"


def swallowing(chunks: Any, slot: Any, verify: Any) -> str:
    """Take what verify raises for a bad stream."""
    try:
        return right(chunks, slot, verify)
    except UpdateRefusedError:
        return "image-digest"


def returning(chunks: Any, slot: Any, verify: Any) -> str:
    """Return what verify says, instead of letting it pass."""
    try:
        return right(chunks, slot, verify)
    except UpdateRefusedError as error:
        return error.rule


def header_counted(chunks: Any, slot: Any, verify: Any) -> str:
    """Allow as many bytes more as the header has."""
    data, header, written = b"", None, 0
    for chunk in chunks:
        data += chunk
        if header is None and len(data) >= 192:
            header = verify(data[:192])
        if header is not None:
            if len(data) > header.size + 2 * 192:
                return "image-long"
            slot.write(data[192 + written :])
            written = len(data) - 192
    if header is None or written < header.size:
        return "image-short"
    return "ok" if hashlib.sha256(data[192:]).digest() == header.digest else "image-digest"


def uncounted(chunks: Any, slot: Any, verify: Any) -> str:
    """Leave it to the digest to notice that something is missing."""
    said = right(chunks, slot, verify)
    return "image-digest" if said == "image-short" else said


def taking(take: Callable[..., Any]) -> Callable[[Lab], None]:
    """Have a function take the updates, as the notebook does."""

    def give(lab: Lab) -> None:
        try_take(lab, take)

    return give


# --- 2: the vault ---------------------------------------------------------------------------------------------------


@cache
def house_beside(root: Path) -> tuple[ReleaseHouse, bytes]:
    """Return a house with keys beside a workspace, and an application that it has signed."""
    house = ReleaseHouse(Workspace.open(root.parent / "house"))
    return house, house.image("1.0.0")


def vault(*, signed: bool = True, key: int = 0, **fuses: int) -> Callable[[Lab], None]:
    """Put a board into the vault's folder: its bootloader signed or not, a key's digest and fuses burned."""

    def give(lab: Lab) -> None:
        house, image = house_beside(lab.workspace.root)
        files = BoardFiles(vault_folder(lab))
        files.create(house.chip)
        _, efuses = files.load()
        bootloader = house.bootloader()
        files.save_flash(house.flash(image, bootloader=bootloader if signed else bootloader[:4096]))
        if fuses:
            efuses.burn({"BLOCK2": house.boot_digest(key), **fuses})
        files.save_efuses(efuses)

    return give


LOCKED: dict[str, Any] = {"ABS_DONE_1": 1, "JTAG_DISABLE": 1}

# --- 3: a colleague's policy ----------------------------------------------------------------------------------------

_POLICY = """
def may_take(header, device):
    def numbers(version):
        return [int(part) for part in version.split(".")]

    if header["product"] != device["product"]:
        return "product-wrong"
    if not header["hardware_min"] <= device["hardware"] <= header["hardware_max"]:
        return "hardware-unsupported"
    if header["secure_version"] < device["secure_version"]:
        return "secure-version-older"
    if numbers(header["version"]) <= numbers(device["version"]):
        return "version-not-newer"
    return "ok"
"""

_BY_RULES = """
def may_take(header, device):
    newer = tuple(map(int, header["version"].split("."))) > tuple(map(int, device["version"].split(".")))
    rules = {
        "product-wrong": header["product"] == device["product"],
        "hardware-unsupported": device["hardware"] in range(header["hardware_min"], header["hardware_max"] + 1),
        "secure-version-older": header["secure_version"] >= device["secure_version"],
        "version-not-newer": newer,
    }
    return next((name for name, holds in rules.items() if not holds), "ok")
"""

_OTHER_ORDER = """
def may_take(header, device):
    newer = tuple(map(int, header["version"].split("."))) > tuple(map(int, device["version"].split(".")))
    if not newer:
        return "version-not-newer"
    if header["product"] != device["product"]:
        return "product-wrong"
    if not header["hardware_min"] <= device["hardware"] <= header["hardware_max"]:
        return "hardware-unsupported"
    return "ok" if header["secure_version"] >= device["secure_version"] else "secure-version-older"
"""


def policy(old: str, new: str) -> Callable[[Any], None]:
    """Hand in the right policy with one thing changed."""
    assert old in _POLICY
    return handing("may_take", _POLICY.replace(old, new))


# --- 4: what was signed ---------------------------------------------------------------------------------------------


def header(version: Any, size: Any, product: Any = "course-node") -> Callable[[Any], None]:
    """Hand in a header."""
    return laying("header.json", {"product": product, "version": version, "size": size})


def plan(*shares: Any) -> Callable[[Any], None]:
    """Hand in a plan."""
    return laying("plan.json", list(shares))


_FIRST_TWO, _NEXT_TWO = ("\n".join(_POLICY.splitlines()[begin : begin + 4]) for begin in (5, 7))
_HOUSE = 'numbers(header["version"]) <= numbers(device["version"])'

TABLE = (
    Answers(
        "firmware-signing.1",
        right=(Right("counts up", taking(right)), Right("one buffer, counts down", taking(by_one_buffer))),
        wrong=(
            Wrong("all at once", taking(all_at_once), "held-in-memory", says="one piece of 6,000 bytes"),
            Wrong("the first chunk is the header", taking(first_chunk_is_header), "good-refused", says="good, in chunks of 1"),
            Wrong("without the digest", taking(unhashed), "digest-not-compared", says="one bit flipped"),
            Wrong("writes, and looks afterwards", taking(written_first), "slot-differs", says="another product's: 9 bytes are in the slot"),
            Wrong("counts at the end", taking(patient), "written-too-much", says="without an end"),
            Wrong("swallows the refusal", taking(swallowing), "refusal-swallowed"),
            Wrong("returns the refusal", taking(returning), "refusal-swallowed"),
            Wrong("counts the header", taking(header_counted), "no-limit", says="one byte too long"),
            Wrong("does not count", taking(uncounted), "length-not-counted", says="cut short"),
            Wrong("always ok", taking(lambda *_: "ok"), "slot-differs", says="they are others"),
            Wrong("says nothing", taking(lambda *_: None), "good-refused", says="says 'None'"),
            Wrong("another file", laying("take.json", {"all": "fine"}), "another-file", says="not what try_take"),
        ),
    ),
    Answers(
        "firmware-signing.2",
        right=(Right("locked", vault(**LOCKED)), Right("and its loader's door shut", vault(**LOCKED, UART_DOWNLOAD_DIS=1))),
        wrong=(
            Wrong("JTAG is open", vault(ABS_DONE_1=1), "jtag-open", says="JTAG is open"),
            Wrong("the switch is off", vault(JTAG_DISABLE=1), "secure-boot-off", says="Secure Boot is off"),
            Wrong("no fuse at all", vault(), "secure-boot-off", says="0 digests are burned"),
            Wrong("fuses before signatures", vault(signed=False, **LOCKED), "bricked", says="does not start any more"),
            Wrong("a stranger's digest", vault(key=1, **LOCKED), "bricked", says="untrusted-key"),
        ),
        touches=("answers", "scratch"),
    ),
    Answers(
        "firmware-signing.3",
        right=(Right("line by line", handing("may_take", _POLICY)), Right("a table of rules", handing("may_take", _BY_RULES))),
        wrong=(
            Wrong("names that begin alike", policy('header["product"] != device["product"]', 'not header["product"].startswith(device["product"])'), "product-not-compared", says="course-node-pro"),
            Wrong("one end of the range", policy('<= device["hardware"] <= header["hardware_max"]', '<= device["hardware"]'), "hardware-not-compared", says="older boards"),
            Wrong("the range without its ends", policy('<= device["hardware"] <=', '< device["hardware"] <'), "good-refused", says="exactly this board"),
            Wrong("versions as words", policy(_HOUSE, 'header["version"] <= device["version"]'), "compared-as-words", says="1.10.0"),
            Wrong("secure versions as words", policy('header["secure_version"] < device["secure_version"]', 'str(header["secure_version"]) < str(device["secure_version"])'), "compared-as-words"),
            Wrong("versions as one number", policy('[int(part) for part in version.split(".")]', 'int(version.replace(".", ""))'), "compared-as-words", says="2.0.0"),
            Wrong("versions by weight", policy('[int(part) for part in version.split(".")]', 'sum(int(p) * 100 ** (2 - n) for n, p in enumerate(version.split(".")))'), "compared-as-words", says="2.0.0"),
            Wrong("a name that ours begins with", policy('header["product"] != device["product"]', 'header["product"] not in device["product"]'), "product-not-compared", says="one for course"),
            Wrong("names in any case", policy('header["product"] != device["product"]', 'header["product"].lower() != device["product"]'), "product-not-compared"),
            Wrong("knows one product", policy('!= device["product"]', '!= "course-node"'), "knows-one-device", says="on a pump"),
            Wrong("knows one revision", policy('<= device["hardware"] <=', "<= 2 <="), "knows-one-device"),
            Wrong("knows one secure version", policy('< device["secure_version"]', "< 3"), "knows-one-device"),
            Wrong("the board before the product", policy(_FIRST_TWO, "\n".join([*_FIRST_TWO.splitlines()[2:], *_FIRST_TWO.splitlines()[:2]])), "other-order", says="a pump's, for newer boards"),
            Wrong("the secure version before the board", policy(_NEXT_TWO, "\n".join([*_NEXT_TWO.splitlines()[2:], *_NEXT_TWO.splitlines()[:2]])), "other-order", says="with the hole"),
            Wrong("takes the same again", policy(") <= numbers", ") < numbers"), "same-again"),
            Wrong("takes what is older", policy(_HOUSE, "False"), "downgrade"),
            Wrong("without the secure version", policy('header["secure_version"] < device["secure_version"]', "False"), "secure-version-not-compared"),
            Wrong("another order", handing("may_take", _OTHER_ORDER), "other-order"),
            Wrong("refuses everything", handing("may_take", 'def may_take(header, device):\n    return "version-not-newer"'), "good-refused"),
            Wrong("a field that is not there", policy('header["product"]', 'header["name"]'), "crashed", says="KeyError"),
        ),
    ),
    Answers(
        "firmware-signing.4",
        right=(Right("one figure moved", header("1.1.11", 24096)), Right("two figures moved", header("1.1.112", 4096))),
        wrong=(
            Wrong("a newer version", header("1.1.3", 124096), "signature-wrong"),
            Wrong("what was signed", header("1.1.1", 124096), "version-not-newer"),
            Wrong("too many figures moved", header("1.1.11240", 96), "header-size"),
            Wrong("all of them but one", header("1.1.112409", 6), "version-unreadable"),
            Wrong("no version", header("1.1.", 1124096), "version-unreadable"),
            Wrong("the other seam", header(".1.1", 124096, "course-node1"), "version-unreadable"),
            Wrong("another product", header("1.1.11", 24096, "pump-controller"), "signature-wrong"),
            Wrong("the size as a word", header("1.1.11", "24096"), "not-a-header"),
            Wrong("a list", laying("header.json", ["course-node", "1.1.11", 24096]), "not-a-header"),
        ),
    ),
    Answers(
        "firmware-signing.5",
        right=(Right("four steps", plan(1, 10, 40, 100)), Right("two steps", plan(4, 100)), Right("five", plan(2, 5, 20, 50, 100))),
        wrong=(
            Wrong("the colleague's", plan(50, 100), "too-many-lost", says="94 of 489"),
            Wrong("all at once", plan(100), "too-many-lost"),
            Wrong("a tenth first", plan(10, 100), "too-many-lost"),
            Wrong("never all", plan(1, 10, 50), "not-everybody"),
            Wrong("six steps", plan(1, 2, 5, 10, 50, 100), "too-slow"),
            Wrong("shrinks", plan(100, 1), "not-growing"),
            Wrong("the same step twice", plan(1, 1, 100), "not-growing"),
            Wrong("shares of one", plan(0.01, 0.1, 1.0), "not-a-plan"),
            Wrong("more than all", plan(1, 200), "not-a-plan"),
            Wrong("nothing", plan(), "not-a-plan"),
            Wrong("a word", laying("plan.json", "1, 100"), "not-a-plan"),
        ),
    ),
)  # fmt: skip
