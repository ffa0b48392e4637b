"""labkit.node.updating: hostile updates leave the board as it was, good ones run after a trial, power may go at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from labkit.board.bootloader import boot
from labkit.board.chips import find_chip
from labkit.board.efuse import Efuses
from labkit.board.machine import Machine
from labkit.board.nor_flash import NorFlash
from labkit.errors import MessageRefusedError, RefusedError, ServiceUnreachableError
from labkit.firmware import NvsEntry, build_image
from labkit.firmware.description import AppDescription
from labkit.firmware.partitions import COURSE_TABLE, OFFSET, build_table
from labkit.firmware.tools import build_app, build_bootloader
from labkit.firmware.update import HEADER_LENGTH, STAGES, Manifest, TrustedKeys, Version, sign_update
from labkit.node import layout
from labkit.node.credentials import Values
from labkit.node.trust import read_trust, render_trust
from labkit.node.updating import TRIES, Updater, settle
from labkit.pki import Key
from labkit.scenarios.releases import Shelf
from tests.vectors import update_cases as cases

if TYPE_CHECKING:
    from collections.abc import Iterator

CHIP = find_chip("esp32")
TRUST = render_trust(cases.TRUSTED)
IDENTITY = COURSE_TABLE.find("fctry")
OTADATA = COURSE_TABLE.find("otadata")
assert IDENTITY
assert OTADATA
HOSTILE = [
    (name, header + image, code)
    for name, header, image, code in cases._cases()  # the same cases that both languages read
    if code != "ok" and name != "one byte too large"  # the vectors' slot is smaller than the board's
]


def app(version: str, behaviour: dict[str, Any] | None = None) -> bytes:
    """Return an application by the real esptool."""
    return build_app(
        "esp32", AppDescription("course-node", version, 3), TRUST if behaviour is None else behaviour
    )


@pytest.fixture(scope="module")
def running() -> bytes:
    """Return a flash in which 1.4.2 runs on a board of revision 2, which 1.9.0 has failed on."""
    values = [
        NvsEntry(layout.IDENTITY, layout.DEVICE_ID, "string", "sensor-001"),
        NvsEntry(layout.IDENTITY, layout.HARDWARE, "u16", 2),
        NvsEntry(layout.UPDATE, layout.FAILED, "string", "1.9.0"),
    ]
    flash = NorFlash()
    for offset, data in (
        (CHIP.bootloader_offset, build_bootloader("esp32")),
        (OFFSET, build_table(COURSE_TABLE)),
        (IDENTITY.offset, build_image(values, size=IDENTITY.size)),
        (COURSE_TABLE.ota_slots[0].offset, app("1.4.2")),
    ):
        flash.program(offset, data)
    boot(flash, Efuses.fresh(CHIP, mac=bytes(6)))  # the first boot of all notes its slot
    return flash.image()


@pytest.fixture(scope="module")
def newer() -> bytes:
    """Return the image of 1.5.0."""
    return app("1.5.0")


@dataclass
class Board:
    """A board that runs, and what it says."""

    flash: NorFlash
    efuses: Efuses = field(default_factory=lambda: Efuses.fresh(CHIP, mac=bytes(6)))
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def machine(self) -> Machine:
        """Reset it."""
        found = boot(self.flash, self.efuses)
        return Machine(self.flash, self.efuses, found, say=print, stopping=Event(), restart=print)

    def log(self, tag: str, code: str, **values: Any) -> None:
        """Note a line."""
        assert "lab_update" == tag
        self.lines.append((code, values))

    def update(self, machine: Machine, source: Any) -> str:
        """Look for an update."""
        return Updater(machine, Values(machine), log=self.log).run(source)

    def state(self) -> tuple[bytes, bytes]:
        """Return what decides on the next boot, and the device's values."""
        return self.flash.read(OTADATA.offset, OTADATA.size), self.flash.read(IDENTITY.offset, IDENTITY.size)


GOOD = Manifest("/updates/course-node/1.5.0.bin", cases.GOOD).render()


class Server(Shelf):
    """A server that promises the good update, and sends what it wants."""

    def manifest(self, product: str, *, hardware: int | None = None, version: Version | None = None) -> bytes:
        """Return the good update's manifest."""
        assert ("course-node", 2, Version(1, 4, 2)) == (product, hardware, version)
        return GOOD


@pytest.mark.parametrize(
    ("update", "code"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_hostile_updates_change_nothing(running: bytes, update: bytes, code: str) -> None:
    """Each is refused with the vectors' code and one line; what boots next and the values are as they were."""
    board = Board(NorFlash(running))
    before, operations = board.state(), board.flash.operations
    assert code == board.update(board.machine(), Server(update, chunk=100))
    assert ([code], before) == ([line[0] for line in board.lines], board.state())
    if code not in STAGES["image"]:
        assert (0, operations) == (board.lines[0][1]["flashed"], board.flash.operations)
    assert "1.4.2" == board.machine().version


def test_the_list_is_long() -> None:
    """There are at least 25 hostile updates, of every stage, each by its own name."""
    assert len(HOSTILE) == len({name for name, _, _ in HOSTILE}) >= 25
    assert set(STAGES) == {stage for _, _, code in HOSTILE for stage in STAGES if code in STAGES[stage]}


@pytest.mark.parametrize("chunk", [1, 191, 193, 4096, 1 << 20])
def test_a_good_update_runs(running: bytes, newer: bytes, chunk: int) -> None:
    """Streamed in chunks of any size, staged, on trial, confirmed; and then there is nothing newer."""
    board = Board(NorFlash(running))
    update = signed(newer)
    assert "update-staged" == board.update(board.machine(), Shelf(update, chunk=chunk))
    assert {"flashed": len(newer), "version": Version(1, 5, 0)} == board.lines[0][1]
    machine = board.machine()
    assert ("1.5.0", True) == (machine.version, machine.pending)
    machine.mark_valid()
    values = Values(machine)
    assert "1.5.0" == values.text(layout.UPDATE, layout.TRIED)
    assert not settle(values, machine.version)
    assert values.text(layout.UPDATE, layout.TRIED) is None
    assert "version-not-newer" == board.update(board.machine(), Shelf(update))


def signed(image: bytes, version: str = "1.5.0") -> bytes:
    """Return an update."""
    return sign_update(
        image,
        product="course-node",
        version=Version.parse(version),
        hardware=(1, 3),
        secure_version=3,
        signer=cases.SIGNER,
    )


def test_what_was_never_confirmed_goes_back_and_stays_out(running: bytes, newer: bytes) -> None:
    """Restarted on trial, the bootloader takes the old image, and the same version is not taken again; the next one is."""
    board = Board(NorFlash(running))
    update = signed(newer)
    board.update(board.machine(), Shelf(update))
    assert board.machine().pending
    machine = board.machine()
    assert ("1.4.2", False, True) == (
        machine.version,
        machine.pending,
        settle(Values(machine), machine.version),
    )
    assert "version-rolled-back" == board.update(machine, Shelf(update))
    assert "update-staged" == board.update(machine, Shelf(signed(app("1.5.1"), "1.5.1")))


def test_an_image_that_this_chip_cannot_boot(running: bytes) -> None:
    """Properly signed, whole, and no image: it is not chosen."""
    board = Board(NorFlash(running))
    before = board.state()
    assert "image-refused" == board.update(board.machine(), Shelf(signed(bytes(2000))))
    assert (before, "1.4.2") == (board.state(), board.machine().version)


class Shaky(Shelf):
    """A server whose connections end: after so many bytes, or at once."""

    def __init__(self, update: bytes, *lengths: int) -> None:
        super().__init__(update)
        self.lengths, self.starts = list(lengths), list[int]()

    def stream(self, path: str, *, start: int = 0, tag: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield some bytes, and hang up."""
        del path, tag
        self.starts.append(start)
        length = self.lengths.pop(0) if self.lengths else 1 << 30
        if length:
            yield "tag", self.updates[0][start : start + length]
        if start + length < len(self.updates[0]):
            raise ServiceUnreachableError("gone", advice="wait", url="https://updates.local")


def test_a_shaky_connection(running: bytes, newer: bytes) -> None:
    """The download goes on where it ended, within the header too; several that bring nothing end it."""
    board = Board(NorFlash(running))
    source = Shaky(signed(newer), 100, 92, 0, 1, 50_000)
    assert "update-staged" == board.update(board.machine(), source)
    assert [0, 100, 192, 192, 193, 50_193] == source.starts
    board = Board(NorFlash(running))
    before = board.state()
    assert "service-unreachable" == board.update(board.machine(), Shaky(signed(newer), 30_000, *[0] * TRIES))
    assert (before, "1.4.2") == (board.state(), board.machine().version)


class Silent(Shelf):
    """A server that has nothing, or says no."""

    def __init__(self, code: str = "") -> None:
        super().__init__()
        self.code = code

    def manifest(self, product: str, *, hardware: int | None = None, version: Version | None = None) -> None:
        """Say so."""
        del product, hardware, version
        if self.code:
            raise RefusedError("no", advice="ask later", code=self.code)


def test_servers_that_have_nothing(running: bytes) -> None:
    """No update and a clear no are told apart, and change nothing."""
    board = Board(NorFlash(running))
    before, machine = board.state(), board.machine()
    assert ("update-none", "service-refused") == (
        board.update(machine, Silent()), board.update(machine, Silent("not-its-turn"))
    )  # fmt: skip
    assert ("not-its-turn", before) == (board.lines[1][1]["why"], board.state())


def test_a_manifest_that_promises_something_else(running: bytes, newer: bytes) -> None:
    """The header decides, and has to agree with the manifest; a manifest that is no good is not followed."""
    board = Board(NorFlash(running))
    assert "manifest-differs" == board.update(board.machine(), Server(signed(newer)))
    assert 0 == board.lines[0][1]["flashed"]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"updates": []},
        {"updates": {"trust": "x"}},
        {"updates": {"trust": ["AAAA"]}},
        {"updates": {"trust": [7]}},
        {"updates": {"revoked": ["zz"]}},
        {"updates": {"revoked": ["aabb"]}},
    ],
)
def test_trust_that_makes_no_sense(behaviour: dict[str, Any]) -> None:
    """An image whose keys can't be read trusts nobody, and says so."""
    with pytest.raises(MessageRefusedError) as caught:
        read_trust(behaviour)
    assert "trust-missing" == caught.value.code


def test_trust_goes_round() -> None:
    """What is written into an image comes out of it; one that says nothing trusts nobody; too much does not fit."""
    assert cases.TRUSTED.keys.keys() == read_trust(TRUST).keys.keys()
    assert {} == read_trust(None).keys
    many = TrustedKeys({Key.generate().fingerprint.encode(): cases.SIGNER.public for _ in range(5)})
    with pytest.raises(ValueError, match="an image holds 4 keys"):
        render_trust(many)


def test_keys_change_with_the_image(running: bytes) -> None:
    """The new key's update is unknown to the old image, taken by one that trusts both, and the old key's is refused then."""
    both = TrustedKeys.of([cases.SIGNER.public, cases.OTHER.public])
    only_new = TrustedKeys.of([cases.OTHER.public], revoked=[cases.SIGNER.key_id])
    bridge, last = app("1.5.0", render_trust(both)), app("1.6.0", render_trust(only_new))
    by_new = sign_update(
        last, product="course-node", version=Version(1, 6, 0), secure_version=3, signer=cases.OTHER
    )
    board = Board(NorFlash(running))
    assert "key-unknown" == board.update(board.machine(), Shelf(by_new))
    for update in (signed(bridge), by_new):
        assert "update-staged" == board.update(board.machine(), Shelf(update))
        machine = board.machine()
        machine.mark_valid()
        settle(Values(machine), machine.version)
    assert "key-revoked" == board.update(board.machine(), Shelf(signed(bridge, "1.7.0")))
    assert "1.6.0" == board.machine().version
    assert HEADER_LENGTH + len(last) == len(by_new)
