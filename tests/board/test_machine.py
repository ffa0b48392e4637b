"""What an application sees of its board, and updates: at every operation the power may go."""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

import pytest

from labkit.board import Machine, NorFlash, PowerCut, boot
from labkit.errors import FormatError, OtaRefusedError
from labkit.firmware import NvsEntry, build_image
from labkit.firmware.nvs_encryption import build_key_partition, derive_keys, encrypt_image
from labkit.firmware.otadata import NEW, PENDING_VERIFY, VALID, parse_otadata
from labkit.firmware.partitions import APP, COURSE_TABLE, FACTORY, Partition, PartitionTable
from tests.simulators.flashed_board import Flashed, app, bootloader, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

KEY = b"k" * 16 + b"l" * 16
NVS_KEY = b"n" * 32 + b"m" * 32
VALUES = [NvsEntry("identity", "device_id", "string", "sensor-001")]
FCTRY, NVS_KEYS = 0x10000, 0x16000
BOTH = pytest.mark.parametrize("chip", ["esp32", "esp32c3"])


def started(board: Flashed, said: list[str] | None = None) -> Machine:
    """Reset a board and return its machine."""
    done = boot(board.flash, board.efuses)
    assert done.booted, done.outcome
    lines = said if said is not None else []
    return Machine(
        board.flash, board.efuses, done, say=lines.append, stopping=threading.Event(), restart=lines.append
    )


def states(board: Flashed) -> list[tuple[int, str]]:
    """Return both entries of otadata."""
    entries = parse_otadata(board.view.read(0xD000, 0x2000))
    return [(one.sequence, one.state_name) for one in entries if one.intact]


# --- partitions and NVS -------------------------------------------------------------------------------------------


@BOTH
def test_a_machine_knows_its_board(chip: str) -> None:
    """Chip, MAC, version and console are the board's, and restarting ends the run."""
    said: list[str] = []
    machine = started(Flashed(chip).fill(app(chip, "1.7")), said)
    assert (chip, "24dcc3a1b2c4", "1.7") == (machine.chip.name, machine.mac.hex(), machine.version)
    assert "ota_0" in repr(machine)
    machine.say("hello")
    with pytest.raises(PowerCut):
        machine.restart("because")
    assert ["hello", "because"] == said
    assert not machine.stopping.is_set()


def test_a_machine_needs_a_boot() -> None:
    """Where nothing has booted there is no machine."""
    board = Flashed()
    done = boot(board.flash, board.efuses)
    with pytest.raises(ValueError, match="has booted"):
        Machine(board.flash, board.efuses, done, say=print, stopping=threading.Event(), restart=print)


@BOTH
def test_partitions_are_read_and_written(chip: str) -> None:
    """What flash encryption covers is noise in the flash and plain to the application; NVS is covered by its own."""
    machine = started(board := Flashed(chip).encrypt(KEY).fill(app(chip)))
    for label, covered in (("nvs_keys", True), ("phy_init", False)):
        machine.write_partition(label, b"some data")
        assert machine.read_partition(label).startswith(b"some data")
        part = machine.partition(label)
        assert covered == (b"some data" not in board.flash.read(part.offset, part.size))
    with pytest.raises(ValueError, match="do not fit"):
        machine.write_partition("phy_init", bytes(0x1001))
    with pytest.raises(KeyError):
        machine.read_partition("nothing")


@BOTH
def test_plain_nvs(chip: str) -> None:
    """Values are read and replaced; a partition that is not there is a KeyError, a damaged one a FormatError."""
    board = Flashed(chip).fill(app(chip))
    board.write(FCTRY, build_image(VALUES), encrypted=False)
    machine = started(board)
    assert ("plain", VALUES) == (machine.nvs_protection, machine.nvs("fctry"))
    more = [*VALUES, NvsEntry("settings", "interval", "u32", 60)]
    for number in range(700):
        machine.write_nvs("fctry", [*VALUES, NvsEntry("settings", "interval", "u32", number)])
    machine.write_nvs("fctry", more)
    assert more == started(board).nvs("fctry")
    with pytest.raises(KeyError):
        machine.nvs("other")
    board.write(FCTRY, b"\0" * 0x1000, encrypted=False)
    with pytest.raises(FormatError):
        machine.nvs("fctry")


@BOTH
def test_nvs_under_keys_of_a_partition(chip: str) -> None:
    """With flash encryption over the keys, identity and keys are noise in a dump, and the application reads on."""
    board = Flashed(chip).encrypt(KEY).fill(app(chip))
    board.write(NVS_KEYS, build_key_partition(NVS_KEY))
    board.write(FCTRY, encrypt_image(build_image(VALUES), NVS_KEY), encrypted=False)
    machine = started(board)
    assert ("keys", VALUES) == (machine.nvs_protection, machine.nvs("fctry"))
    machine.write_nvs("fctry", [NvsEntry("identity", "device_id", "string", "sensor-002")])
    assert "sensor-002" == machine.nvs("fctry")[0].value
    dump = board.flash.image()
    assert b"sensor-00" not in dump
    assert NVS_KEY not in dump


def test_nvs_under_an_hmac_key() -> None:
    """On the ESP32-C3 the image may say that the chip derives the keys: then none lies in flash at all."""
    board = Flashed("esp32c3").fill(app("esp32c3", behaviour={"nvs": "hmac", "hmac_key": 1}))
    board.efuses.burn({"BLOCK_KEY1": b"h" * 32, "KEY_PURPOSE_1": 8})
    board.write(FCTRY, encrypt_image(build_image(VALUES), derive_keys(b"h" * 32)), encrypted=False)
    assert ("hmac", VALUES) == ((machine := started(board)).nvs_protection, machine.nvs("fctry"))


@pytest.mark.parametrize("block", [0, "x", 77])
def test_an_hmac_key_that_was_never_burned(block: object) -> None:
    """Without a key the hardware computes with zeros, and what another key encrypted stays closed."""
    board = Flashed("esp32c3").fill(app("esp32c3", behaviour={"nvs": "hmac", "hmac_key": block}))
    board.write(FCTRY, encrypt_image(build_image(VALUES), derive_keys(b"h" * 32)), encrypted=False)
    with pytest.raises(FormatError):
        started(board).nvs("fctry")
    board.write(FCTRY, encrypt_image(build_image(VALUES), derive_keys(bytes(32))), encrypted=False)
    assert VALUES == started(board).nvs("fctry")


def test_the_image_decides_how_nvs_is_protected() -> None:
    """An image that wants encrypted values does not take plain ones that somebody wrote into the flash."""
    board = Flashed().fill(app("esp32", behaviour={"nvs": "keys"}))
    board.write(FCTRY, build_image(VALUES), encrypted=False)
    with pytest.raises(FormatError):
        started(board).nvs("fctry")
    board.fill(app("esp32", behaviour={"nvs": "plain"}))
    assert VALUES == started(board).nvs("fctry")


def test_blank_keys_under_flash_encryption_are_none() -> None:
    """An erased partition of keys looks like noise through the decryption; NVS is plain then, as without encryption."""
    board = Flashed("esp32").encrypt(KEY).fill(app("esp32"))
    board.flash.program(FCTRY, build_image(VALUES))
    assert b"\xff" * 68 == board.flash.read(NVS_KEYS, 68)
    machine = started(board)
    assert ("plain", VALUES) == (machine.nvs_protection, machine.nvs("fctry"))
    board.flash.program(NVS_KEYS, b"\xfe")
    with pytest.raises(FormatError):
        started(board).nvs("fctry")


def test_a_table_without_a_partition_for_keys() -> None:
    """Where no keys can lie, values are plain unless the image says otherwise."""
    bare = PartitionTable(COURSE_TABLE.partitions[:4] + COURSE_TABLE.partitions[5:])
    assert "plain" == started(Flashed().fill(app("esp32"), table=bare)).nvs_protection


def test_damaged_keys_are_said_so() -> None:
    """Keys that were written in the clear under flash encryption read as noise, and that is the reason."""
    board = Flashed().encrypt(KEY).fill(app("esp32"))
    board.write(NVS_KEYS, build_key_partition(NVS_KEY), encrypted=False)
    with pytest.raises(FormatError) as caught:
        started(board).nvs("fctry")
    assert "nvs-keys" == caught.value.what


# --- updates ------------------------------------------------------------------------------------------------------


def updated(machine: Machine, image: bytes, *, step: int = 1000, size: int | None = None) -> None:
    """Write an update in pieces, and choose it."""
    update = machine.begin_update(size)
    for at in range(0, len(image), step):
        update.write(image[at : at + step])
    update.finish()
    update.set_boot()


@BOTH
@pytest.mark.parametrize("encrypted", [False, True])
def test_an_update_and_its_confirmation(chip: str, encrypted: bool) -> None:  # noqa: FBT001
    """The new application runs on trial, is called valid, burns its security version, and stays."""
    board = Flashed(chip)
    board = board.encrypt(KEY) if encrypted else board
    machine = started(board.fill(app(chip, "1")))
    assert not machine.pending
    updated(machine, app(chip, "2", secure_version=2, filler=bytes(5000)), step=777, size=6000)
    assert [(1, "valid"), (2, "new")] == states(board)
    machine = started(board)
    assert ("2", True) == (machine.version, machine.pending)
    with pytest.raises(OtaRefusedError) as caught:
        machine.begin_update()
    assert "pending" == caught.value.rule
    machine.mark_valid()
    operations = board.flash.operations
    machine.mark_valid()
    assert operations == board.flash.operations
    assert (False, 2) == (machine.pending, board.efuses.secure_version)
    assert [(1, "valid"), (2, "valid")] == states(board)
    assert "2" == started(board).version


def test_an_update_that_nobody_confirms() -> None:
    """Without a word the one before is back at the next boot, and the next update takes the other slot again."""
    board = Flashed().fill(app("esp32", "1"))
    updated(started(board), app("esp32", "2"))
    assert "2" == started(board).version
    assert "1" == started(board).version
    updated(started(board), app("esp32", "3"))
    assert "3" == started(board).version


def test_an_application_gives_itself_up() -> None:
    """It can go back at once, where there is something to go back to; otherwise nothing changes."""
    said: list[str] = []
    board = Flashed().fill(app("esp32", "1"))
    updated(started(board), app("esp32", "2"))
    with pytest.raises(PowerCut):
        started(board, said).mark_invalid_and_reboot()
    assert ["rollback"] == said
    assert [(1, "valid"), (2, "invalid")] == states(board)
    machine = started(board)
    assert "1" == machine.version
    with pytest.raises(OtaRefusedError) as caught:
        machine.mark_invalid_and_reboot()
    assert "no-rollback" == caught.value.rule
    assert [(1, "valid"), (2, "invalid")] == states(board)


def test_a_fallback_does_not_speak_for_another() -> None:
    """An application that runs because the chosen one is broken neither confirms it nor gives it up."""
    broken = bytearray(app("esp32", "2"))
    broken[60] ^= 1
    board = Flashed().fill(app("esp32", "1"), bytes(broken), otadata=[(1, VALID), (2, NEW)])
    machine = started(board)
    assert ("1", False) == (machine.version, machine.pending)
    machine.mark_valid()
    assert [(1, "valid"), (2, "pending-verify")] == states(board)
    with pytest.raises(OtaRefusedError):
        machine.mark_invalid_and_reboot()


def test_a_factory_application_updates_into_the_first_slot() -> None:
    """From the factory's application the first slot is filled, and giving up leads back to the factory."""
    table = PartitionTable(
        (
            *COURSE_TABLE.partitions[:5],
            Partition("factory", APP, FACTORY, 0x20000, 0x10000),
            Partition("ota_0", APP, 0x10, 0x30000, 0x10000),
        )
    )
    board = Flashed().fill(table=table)
    board.write(0x20000, app("esp32", "factory"))
    machine = started(board)
    machine.mark_valid()
    assert [] == states(board)
    updated(machine, app("esp32", "1"))
    machine = started(board)
    assert "1" == machine.version
    with pytest.raises(OtaRefusedError) as caught:
        Machine(
            board.flash, board.efuses, machine.boot, say=print, stopping=threading.Event(), restart=print
        ).begin_update()
    assert "pending" == caught.value.rule
    with pytest.raises(PowerCut):
        machine.mark_invalid_and_reboot()
    assert "factory" == started(board).version


def test_updates_that_can_not_be() -> None:
    """No second slot, no otadata, too long, not finished, finished twice: each is refused by its name."""
    image = app("esp32", "2")
    one = PartitionTable(COURSE_TABLE.partitions[:6])
    machine = started(Flashed().fill(app("esp32"), table=one))
    assert "no-slot" == rule_of(machine.begin_update)
    blind = PartitionTable(COURSE_TABLE.partitions[:1] + COURSE_TABLE.partitions[2:])
    machine = started(Flashed().fill(app("esp32"), table=blind))
    assert "no-otadata" == rule_of(lambda: updated(machine, image))
    machine.mark_valid()
    assert "no-rollback" == rule_of(machine.mark_invalid_and_reboot)
    board = Flashed().fill(app("esp32"))
    crooked = struct.pack("<2sBBII16sI", b"\xaa\x50", APP, 0x11, 0x200800, 0x10000, b"crooked", 0)
    board.write(0x8000, board.flash.read(0x8000, 6 * 32) + crooked)
    machine = started(board)
    assert "alignment" == rule_of(machine.begin_update)
    machine = started(Flashed().fill(app("esp32")))
    assert "size" == rule_of(lambda: machine.begin_update(0x1E0001))
    update = machine.begin_update()
    assert "unfinished" == rule_of(update.set_boot)
    update.write(image)
    assert "size" == rule_of(lambda: update.write(bytes(0x1E0000)))
    update.finish()
    assert "finished" == rule_of(lambda: update.write(b"more"))
    assert update.slot == COURSE_TABLE.find("ota_1")


def rule_of(work: object) -> str:
    """Return for what an update is refused."""
    assert callable(work)
    with pytest.raises(OtaRefusedError) as caught:
        work()
    return caught.value.rule


def test_updates_that_the_bootloader_would_refuse(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """What would not boot is not chosen: cut off, for another chip, unsigned, too old; the one that runs stays."""
    key = boot_keys[0]
    board = (
        Flashed()
        .trust(key)
        .fill(sign(app("esp32", "1", secure_version=2), key), boot=sign(bootloader("esp32"), key))
    )
    cases = {
        "segment-length": sign(app("esp32", "2"), key)[:40],
        "chip-id": sign(app("esp32c3", "2"), key),
        "unsigned": app("esp32", "2"),
        "untrusted-key": sign(app("esp32", "2"), boot_keys[1]),
        "secure-version": sign(app("esp32", "2", secure_version=1), key),
    }
    machine = started(board)
    assert 2 == board.efuses.secure_version
    for reason, image in cases.items():
        assert reason == rule_of(lambda image=image: updated(machine, image))
        assert "1" == started(board).version
        board.flash.erase(0x200000, 0x10000)
    updated(machine, sign(app("esp32", "2", secure_version=2), key))
    assert "2" == started(board).version


def test_a_bootloader_that_knows_no_anti_rollback() -> None:
    """Where the bootloader does not compare security versions, the application does not burn any."""
    board = Flashed().fill(app("esp32", "1"), boot=bootloader("esp32", {"anti_rollback": False}))
    updated(started(board), app("esp32", "2", secure_version=5))
    machine = started(board)
    machine.mark_valid()
    assert ("2", 0) == (machine.version, board.efuses.secure_version)


# --- power cuts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secured", [False, True], ids=["hash", "signature"])
def test_power_may_go_at_every_operation_of_an_update(
    secured: bool,  # noqa: FBT001
    boot_keys: list[rsa.RSAPrivateKey],
) -> None:
    """Cut after operation 0 to n of an update of 64 KB, the board boots the old or the new application, and no other."""
    key = boot_keys[0]

    def made(image: bytes) -> bytes:
        return sign(image, key) if secured else image

    board = Flashed()
    if secured:
        board.trust(key)
    board.fill(made(app("esp32", "old")), boot=made(bootloader("esp32")))
    before = (started(board), board.flash.image())[1]
    new = made(app("esp32", "new", filler=bytes(range(256)) * 250))
    board.flash.operations = 0
    updated(started(board), new, step=4096)
    total = board.flash.operations
    assert total > 250
    seen = []
    for cut in range(total + 1):
        board.flash = NorFlash(before)
        machine = started(board)
        board.flash.cut_after = board.flash.operations + cut
        try:
            updated(machine, new, step=4096)
        except PowerCut:
            assert cut < total
        board.flash.cut_after = None
        done = boot(board.flash, board.efuses)
        assert done.booted, (cut, done.outcome)
        seen.append(done.outcome.detail["version"])
    assert ["old"] * total + ["new"] == seen


def test_power_may_go_while_the_bootloader_writes() -> None:
    """Cut between erasing and writing an entry of otadata, the board comes up with one of the two, and settles."""
    for otadata in ([(1, VALID), (2, NEW)], [(1, VALID), (2, PENDING_VERIFY)], []):
        for cut in range(3):
            board = Flashed().fill(app("esp32", "old"), app("esp32", "new"), otadata=otadata)
            board.flash.cut_after = cut
            try:
                boot(board.flash, board.efuses)
            except PowerCut:
                assert cut < 2
            board.flash.cut_after = None
            versions = [started(board).version for _ in range(3)]
            assert set(versions) <= {"old", "new"}
            assert "old" == versions[-1]


def test_power_may_go_while_an_update_is_confirmed_or_given_up() -> None:
    """The state is one entry: whole, or empty, and then the other application counts."""
    for confirm in (True, False):
        for cut in range(3):
            board = Flashed().fill(app("esp32", "old"), app("esp32", "new"), otadata=[(1, VALID), (2, NEW)])
            machine = started(board)
            board.flash.cut_after = board.flash.operations + cut
            with_cut = machine.mark_valid if confirm else machine.mark_invalid_and_reboot
            try:
                with_cut()
            except PowerCut:
                assert cut < 2 or not confirm
            board.flash.cut_after = None
            assert ("new" if confirm and cut == 2 else "old") == started(board).version
