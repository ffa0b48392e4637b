"""The exercises of lesson firmware-signing: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from labkit.board.board_files import BoardFiles
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.firmware_signing import (
    attacks_table,
    cut_lanes,
    museum_of,
    soldered,
    vault_folder,
)
from labkit.course.lessons.firmware_signing_exercise import try_take
from labkit.errors import UpdateRefusedError
from labkit.scenarios.power_cuts import Cut, Sweep
from labkit.scenarios.releases import ReleaseHouse
from labkit.scenarios.signing_desk import SigningDesk
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

pytestmark = pytest.mark.broker


@pytest.fixture
def lab(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lab]:
    """Return the lesson's lab."""
    del mosquitto
    opened = open_lab("firmware-signing", workspace=tmp_path / "w")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> ReleaseHouse:
    """Return a house with keys."""
    return ReleaseHouse(Workspace.open(tmp_path_factory.mktemp("house") / "w"))


@pytest.fixture(scope="module")
def image(house: ReleaseHouse) -> bytes:
    """Return a signed application."""
    return house.image("1.0.0")


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("firmware-signing").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was run, both exercises are not attempted."""
    assert {"not-attempted"} == {check(lab, number).status for number in (1, 2)}


# --- a megabyte does not fit --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (right, "passed", "9 updates"),
        (all_at_once, "failed", "one piece of 6,000 bytes"),
        (first_chunk_is_header, "failed", "good, in chunks of 1"),
        (unhashed, "failed", "one bit flipped"),
        (written_first, "failed", "another product's: 9 bytes are in the slot"),
        (patient, "failed", "without an end"),
        (lambda *_: "ok", "failed", "they are others"),
        (lambda *_: None, "failed", "says 'None'"),
    ],
)
def test_updates_are_taken_and_refused(lab: Lab, answer: Callable[..., Any], status: str, word: str) -> None:
    """Streaming passes; each way of holding, believing or forgetting something is told by name."""
    try_take(lab, answer)
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed), result


def test_a_stub_leaves_nothing(lab: Lab) -> None:
    """A function that raises is not attempted."""

    def stub(*_: Any) -> str:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        try_take(lab, stub)
    assert "not-attempted" == check(lab, 1).status


def test_another_file_on_the_shelf(lab: Lab) -> None:
    """A file that try_take did not write is told so."""
    lab.workspace.write_json("answers/firmware-signing/take.json", {"all": "fine"})
    assert ("failed", True) == ((result := check(lab, 1)).status, "not what try_take" in result.observed)


# --- the vault ----------------------------------------------------------------------------------------------------


def build(lab: Lab, house: ReleaseHouse, application: bytes, *, signed: bool = True, **fuses: int) -> None:
    """Put a board into the vault's folder."""
    files = BoardFiles(vault_folder(lab))
    files.create(house.chip)
    _, efuses = files.load()
    bootloader = house.bootloader()
    files.save_flash(house.flash(application, bootloader=bootloader if signed else bootloader[:4096]))
    if fuses:
        efuses.burn({"BLOCK2": house.boot_digest(), **fuses})
    files.save_efuses(efuses)


def test_a_new_board_is_not_attempted(lab: Lab, house: ReleaseHouse) -> None:
    """A blank board that nobody has touched is not attempted."""
    BoardFiles(vault_folder(lab)).create(house.chip)
    assert "not-attempted" == check(lab, 2).status


@pytest.mark.parametrize(
    ("fuses", "wanted", "word"),
    [
        ({"ABS_DONE_1": 1, "JTAG_DISABLE": 1}, "passed", "says to the rest: unsigned"),
        ({"ABS_DONE_1": 1}, "failed", "JTAG is open"),
        ({"JTAG_DISABLE": 1}, "failed", "Secure Boot is off"),
        ({}, "failed", "0 digests are burned"),
        ({"signed": False, "ABS_DONE_1": 1, "JTAG_DISABLE": 1}, "failed", "does not start any more"),
    ],
)
def test_the_vault_is_judged_by_its_bytes(
    lab: Lab, house: ReleaseHouse, fuses: dict[str, Any], wanted: str, word: str
) -> None:  # fmt: skip
    """Locked in the right order passes; a brick, an open switch and an open JTAG are told by name."""
    build(lab, house, house.image("1.0.0"), **fuses)
    before = [path.read_bytes() for path in sorted(vault_folder(lab).glob("*.bin"))]
    result = check(lab, 2)
    assert (wanted, True) == (result.status, word in result.observed), result
    assert before == [path.read_bytes() for path in sorted(vault_folder(lab).glob("*.bin"))]


def test_a_strangers_digest(lab: Lab, house: ReleaseHouse, image: bytes) -> None:
    """A board that trusts another key than the one that signed is a brick too."""
    build(lab, house, image, ABS_DONE_1=1, JTAG_DISABLE=1)
    other = house.efuses()
    other.burn({"BLOCK2": house.boot_digest(1), "ABS_DONE_1": 1, "JTAG_DISABLE": 1})
    BoardFiles(vault_folder(lab)).save_efuses(other)
    assert "untrusted-key" in check(lab, 2).observed


# --- what the lesson shows ----------------------------------------------------------------------------------------


def test_both_columns(house: ReleaseHouse, image: bytes) -> None:
    """The table has seven attacks, three of which the printed verifier takes."""
    rows = attacks_table(museum_of(house, house.image("1.4.2"), image)).rows
    assert (7, 3, 0) == (
        len(rows),
        sum("accepted" in str(row[1]) for row in rows),
        sum("accepted" in str(row[2]) for row in rows),
    )


def test_old_images_until_a_fuse_is_burned(house: ReleaseHouse) -> None:
    """The old image boots from a soldered flash until a newer secure version has called itself valid on that chip."""
    old, new = house.image("1.3.0"), house.image("1.9.0", secure_version=1)
    before, newest, after = soldered(house, old, new, old)
    assert (True, True, "secure-version") == (before.accepted, newest.accepted, after.reason)


def test_the_figure_has_every_state() -> None:
    """The lanes of the figure are those of the sweep, for both looks at it."""
    sweep = Sweep((Cut(0, "write the image", "the old image runs", "the new one, confirmed", ""),), "")
    assert ["the old image runs"] == list(cut_lanes(sweep).steps)
    assert ["the new one, confirmed"] == list(cut_lanes(sweep, finally_=True).steps)


@pytest.mark.tool
def test_the_desk_asks_the_real_openssl(tmp_path: Path, openssl: Path) -> None:
    """A signature that openssl made is verified, one of another file is not, and the command is shown."""
    del openssl
    desk = SigningDesk(tmp_path / "desk")
    desk.write("a", b"one")
    desk.write("b", b"two")
    desk.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem")
    desk.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    desk.openssl("dgst", "-sha256", "-sign", "key.pem", "-out", "a.sig", "a")
    assert desk.verdict("a", "a.sig", "public.pem").accepted
    refused = desk.verdict("b", "a.sig", "public.pem")
    assert ("signature-wrong", True) == (refused.reason, "Verification failure" in refused.detail["found"])
