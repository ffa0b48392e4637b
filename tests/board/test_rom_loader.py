"""The serial loader by itself: what it answers, what it refuses, and that nothing sent to it makes it fail."""

from __future__ import annotations

import hashlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.board import PowerCut
from labkit.board.loader_protocol import ROM_COMMANDS, STUB_COMMANDS, SYNC, checksum
from labkit.board.slip import encode
from tests.simulators.loader_host import DATA_AT, ENTRY, MAC, TEXT, TEXT_AT, LoaderHost

OK = (0, 0)
FAILED = (1, 6)


def kinds(host: LoaderHost) -> list[str]:
    """Return what happened."""
    return [event.kind for event in host.loader.take_events()]


def test_nothing_answers_before_sync() -> None:
    """A running chip does not listen; SYNC is BOOT and RESET, and has eight answers."""
    host = LoaderHost()
    assert [] == host.raw(0x0A, struct.pack("<I", 0))
    assert 8 == host.sync()
    assert ["download"] == kinds(host)
    assert 0x00F01D83 == host.words(0x0A, 0x40001000)[0]


def test_a_strapped_chip_wants_its_lines() -> None:
    """With reset lines on the port, SYNC alone does not lead into the loader."""
    host = LoaderHost()
    host.loader.strapped = True
    assert 0 == host.sync()
    host.loader.enter()
    assert 8 == host.sync()


@pytest.mark.parametrize(("chip", "fuse"), [("esp32", "UART_DOWNLOAD_DIS"), ("esp32c3", "DIS_DOWNLOAD_MODE")])
def test_a_closed_loader_is_silent(chip: str, fuse: str) -> None:
    """Where download mode is burned away, nothing answers, whatever the lines do."""
    host = LoaderHost(chip, {fuse: 1})
    host.loader.enter()
    assert (0, [], False) == (host.sync(), kinds(host), host.loader.active)
    assert 8 == LoaderHost(chip).sync()


def test_an_unknown_command_is_refused_as_the_rom_does() -> None:
    """Eight answers with another name and error 5; the stub says that it does not know it."""
    host = LoaderHost()
    host.sync()
    expected = bytes((1, 0xFF, 4, 0, 0, 0, 0, 0, 1, 5, 0, 0))
    assert [expected] * 8 == host.raw(0xD0)
    assert [expected] * 8 == host.raw(0x14)
    host.run_stub()
    assert (0xFF, 0) == host.command(0x77)[2]


def test_the_stub_takes_over() -> None:
    """The known program is imitated from then on: it says OHAI and answers with two bytes of status."""
    host = LoaderHost()
    answer, hello = host.run_stub()
    assert (b"OHAI", 12) == (hello, len(answer))
    assert ["download", "stub"] == kinds(host)
    assert [0] * 8 == [struct.unpack_from("<I", packet, 4)[0] for packet in host.raw(0x08, SYNC)]


def test_another_program_for_ram_is_refused() -> None:
    """Size or place of no known stub is refused at once, and said on the console."""
    host = LoaderHost()
    host.sync()
    assert FAILED == host.words(0x05, 100, 1, 0x1800, TEXT_AT)[2]
    (_, event) = host.loader.take_events()
    assert "refused" == event.kind
    assert "runs no machine code" in event.text


def test_a_forged_stub_is_refused() -> None:
    """The right size at the right place with other bytes does not run; nor does the right one from elsewhere."""
    host = LoaderHost()
    host.sync()
    host.words(0x05, len(TEXT), 1, 0x1800, TEXT_AT)
    assert OK == host.block(0x07, 0, TEXT[::-1])
    assert FAILED == host.words(0x06, 0, ENTRY)[2]
    host.words(0x05, len(TEXT), 1, 0x1800, TEXT_AT)
    assert OK == host.block(0x07, 0, TEXT)
    assert FAILED == host.words(0x06, 0, ENTRY + 8)[2]
    assert ["download", "refused", "refused"] == kinds(host)
    assert (False, OK) == (host.loader.stub_running, host.words(0x06, 1, 0)[2])


def test_ram_blocks_come_in_order() -> None:
    """A block out of turn, or without a beginning, is refused; a repeated one is taken once."""
    host = LoaderHost()
    host.sync()
    assert FAILED == host.block(0x07, 0, b"abc")
    host.words(0x05, len(TEXT), 2, 9, TEXT_AT)
    assert FAILED == host.block(0x07, 1, TEXT[9:])
    assert [OK, OK, OK] == [host.block(0x07, n, TEXT[9 * n : 9 * n + 9]) for n in (0, 0, 1)]


def test_no_stub_runs_under_secure_boot_on_the_c3() -> None:
    """The ROM jumps nowhere unsigned; without Secure Boot it does."""
    host = LoaderHost("esp32c3", {"SECURE_BOOT_EN": 1})
    assert FAILED == tuple(host.run_stub()[0][8:10])
    assert b"OHAI" == LoaderHost("esp32c3").run_stub()[1]


@pytest.mark.parametrize("stub", [False, True])
def test_flash_is_written_and_hashed(*, stub: bool) -> None:
    """Blocks land where they belong, and the digest is that of the flash."""
    host = LoaderHost()
    host.run_stub() if stub else host.sync()
    data = bytes(range(256)) * 8
    assert OK == host.words(0x02, len(data), 2, 0x400, 0x8000)[2]
    assert [OK, OK] == [host.block(0x03, n, data[0x400 * n : 0x400 * n + 0x400]) for n in range(2)]
    assert data == host.flash.read(0x8000, len(data))
    digest = hashlib.md5(data, usedforsecurity=False)
    told = host.words(0x13, 0x8000, len(data), 0, 0)[1]
    assert (digest.digest() if stub else digest.hexdigest().encode()) == told
    assert OK == host.words(0x04, 1)[2]
    assert (["download", "stub"] if stub else ["download", "restart"]) == kinds(host)


def test_the_rom_erases_first_and_the_stub_as_it_goes() -> None:
    """A tool that dies after FLASH_BEGIN has erased everything, or nothing."""
    rom, stub = LoaderHost(), LoaderHost()
    rom.sync()
    stub.run_stub()
    for host in (rom, stub):
        host.flash.program(0, bytes(0x3000))
        host.words(0x02, 0x3000, 12, 0x400, 0)
    assert (b"\xff" * 0x3000, bytes(0x3000)) == (rom.flash.read(0, 0x3000), stub.flash.read(0, 0x3000))
    stub.block(0x03, 0, b"\x11" * 0x400)
    assert b"\x11" * 0x400 + b"\xff" * 0xC00 + bytes(0x2000) == stub.flash.read(0, 0x3000)


def test_a_repeated_block_is_written_once() -> None:
    """A tool that heard no answer sends the block again; out of turn is refused."""
    host = LoaderHost()
    host.run_stub()
    packed = zlib.compress(bytes(5000), 9)
    assert OK == host.words(0x10, 5000, 2, 0x4000, 0)[2]
    assert (0xC4, 0) == host.block(0x11, 1, packed)
    assert [OK, OK] == [host.block(0x11, 0, packed), host.block(0x11, 0, packed)]
    assert bytes(5000) == host.flash.read(0, 5000)


def test_a_bomb_does_not_go_off() -> None:
    """A stream that inflates to more than was announced writes what was announced."""
    host = LoaderHost()
    host.run_stub()
    host.words(0x10, 100, 1, 0x4000, 0)
    assert OK == host.block(0x11, 0, zlib.compress(bytes(10_000_000), 9))
    assert bytes(100) + b"\xff" * 100 == host.flash.read(0, 200)


def test_a_stream_that_is_none_is_refused() -> None:
    """Each loader has its own code for it."""
    for stub, status in ((False, (1, 0x0B)), (True, (0xC7, 0))):
        host = LoaderHost()
        host.run_stub() if stub else host.sync()
        host.words(0x10, 100, 1, 0x400, 0)
        assert status == host.block(0x11, 0, b"no zlib")
        assert b"\xff" * 100 == host.flash.read(0, 100)


def test_a_wrong_checksum_is_refused() -> None:
    """The block is not written; the same with the right one is."""
    host = LoaderHost()
    host.sync()
    host.words(0x02, 4, 1, 0x400, 0)
    head = struct.pack("<IIII", 4, 0, 0, 0)
    assert (1, 7) == host.command(0x03, head + b"abcd", checksum(b"abcd") ^ 1)[2]
    assert b"\xff" * 4 == host.flash.read(0, 4)
    assert OK == host.block(0x03, 0, b"abcd")
    assert b"abcd" == host.flash.read(0, 4)


def test_fuses_are_read_and_burned_through_the_loader() -> None:
    """The controller's registers are where the chip has them."""
    host = LoaderHost("esp32c3")
    host.sync()
    base = 0x60008800
    assert int.from_bytes(MAC[2:], "big") == host.words(0x0A, base + 0x44)[0]
    for offset, value in ((0, 0x1234), (0x1CC, 0x5A5A), (0x1D4, 2 | 3 << 2)):
        assert OK == host.words(0x09, base + offset, value, 0xFFFFFFFF, 0)[2]
    assert b"\x34\x12" == host.efuses.block("BLOCK_USR_DATA")[:2]


def test_the_checksum_is_the_exclusive_or() -> None:
    """The folded one equals the plain one, at every length."""
    for length in range(40):
        plain = 0xEF
        for byte in range(length):
            plain ^= byte * 7 % 256
        assert plain == checksum(bytes(byte * 7 % 256 for byte in range(length)))


@pytest.mark.parametrize(("offset", "size"), [(0x3FF000, 0x2000), (0x400000, 4), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_flash_that_is_not_there_is_refused(offset: int, size: int) -> None:
    """Beginning, reading, hashing and erasing beyond the end fail and change nothing."""
    host = LoaderHost()
    host.run_stub()
    for op, words in ((0x02, (size, 1, 0x400, offset)), (0x13, (offset, size, 0, 0)), (0xD1, (offset, size))):
        assert (0xC4, 0) == host.words(op, *words)[2]
    assert (0xC4, 0) == host.words(0xD2, offset, size, 0x1000, 64)[2]
    assert (0, OK) == (host.flash.operations, host.words(0xD1, 0x3FF000, 0x1000)[2])


def test_reading_waits_for_acknowledgements() -> None:
    """The window goes out, then as much as is acknowledged, then the digest."""
    host = LoaderHost()
    host.run_stub()
    host.flash.program(0, bytes(range(256)) * 64)
    (answer, *blocks) = host.raw(0xD2, struct.pack("<IIII", 0, 0x4000, 0x1000, 2))
    assert (10, 2) == (len(answer), len(blocks))
    assert [] == host.exchange(struct.pack("<I", 0x9000))
    for total in (0x1000, 0x2000):
        blocks += host.exchange(struct.pack("<I", total))
    assert [] == host.exchange(struct.pack("<I", 0x3000))
    (digest,) = host.exchange(struct.pack("<I", 0x4000))
    assert host.flash.read(0, 0x4000) == b"".join(blocks)
    assert hashlib.md5(b"".join(blocks), usedforsecurity=False).digest() == digest
    assert OK == host.words(0x0B, 0, 0x400000, 0, 0, 0, 0)[2]


def test_slow_reading_has_64_bytes() -> None:
    """The ROM's read always answers with a full buffer, and never with more."""
    host = LoaderHost()
    host.sync()
    host.flash.program(16, b"abcd")
    assert b"abcd".ljust(64, b"\0") == host.words(0x0E, 16, 4)[1]
    assert (1, 5) == host.words(0x0E, 0, 65)[2]


def test_registers_can_be_written_in_part() -> None:
    """A mask leaves the other bits; one command may write several."""
    host = LoaderHost()
    host.sync()
    at = 0x3FF48074
    pairs = struct.pack("<8I", at, 0xFF00FF00, 0xFFFFFFFF, 0, at, 0x000000AA, 0xFF, 5)
    assert OK == host.command(0x09, pairs)[2]
    assert 0xFF00FFAA == host.words(0x0A, at)[0]


def test_registers_take_no_endless_room() -> None:
    """A host that writes everywhere fills a small table and no more."""
    host = LoaderHost()
    host.sync()
    for start in range(0, 3000, 100):
        host.command(
            0x09, b"".join(struct.pack("<4I", 4 * n, 1, 0xFFFFFFFF, 0) for n in range(start, start + 100))
        )
    assert len(host.loader._registers) <= 1024


def test_every_baud_rate_is_taken() -> None:
    """The divider says which rate it is; zero and absurd ones are refused."""
    host = LoaderHost()
    host.sync()
    for rate in (300, 9600, 115200, 230400, 921600, 2000000):
        assert OK == host.words(0x0F, rate, 0)[2]
        assert 40_000_000 // rate == host.words(0x0A, 0x3FF40014)[0]
    assert [(1, 5), (1, 5)] == [host.words(0x0F, rate, 0)[2] for rate in (0, 0xFFFFFFFF)]


def test_encrypted_writing_needs_whole_lines_and_its_fuse() -> None:
    """The plain text is encrypted on its way; unaligned or burned away it is refused."""
    host = LoaderHost("esp32c3")
    host.run_stub()
    assert (0xC4, 0) == host.words(0x02, 40, 1, 0x400, 0, 1)[2]
    assert OK == host.words(0x02, 48, 1, 0x400, 0, 1)[2]
    assert OK == host.block(0x03, 0, b"a" * 48)
    assert b"4" * 48 == host.flash.read(0, 48)
    burned = LoaderHost("esp32c3", {"DIS_DOWNLOAD_MANUAL_ENCRYPT": 1})
    burned.run_stub()
    assert (0xC4, 0) == burned.words(0x02, 48, 1, 0x400, 0, 1)[2]
    assert "refused" in kinds(burned)


def test_secure_download_mode_writes_and_reads_nothing() -> None:
    """What reads is unknown there; security information and writing are left. It is taken over at a reset."""
    host = LoaderHost("esp32c3", {"ENABLE_SECURITY_DOWNLOAD": 1})
    host.sync()
    for op in (0x05, 0x06, 0x07, 0x09, 0x0A, 0x0E, 0x13):
        assert 8 == len(host.raw(op, bytes(16)))
    flags, _ = struct.unpack_from("<IB", host.command(0x14)[1])
    assert 4 == flags & 4
    assert OK == host.words(0x02, 4, 1, 0x400, 0, 0)[2]
    assert OK == host.block(0x03, 0, b"abcd")
    assert b"abcd" == host.flash.read(0, 4)
    late = LoaderHost("esp32c3")
    late.sync()
    late.efuses.burn({"ENABLE_SECURITY_DOWNLOAD": 1})
    assert OK == late.words(0x0A, 0)[2]


def test_a_power_cut_comes_out() -> None:
    """The loader does not swallow it, and the operations before it are done."""
    host = LoaderHost()
    host.run_stub()
    host.flash.cut_after = 3
    host.words(0x02, 0x400, 1, 0x400, 0)
    with pytest.raises(PowerCut):
        host.block(0x03, 0, bytes(0x400))
    assert bytes(0x200) + b"\xff" * 0x200 == host.flash.read(0, 0x400)


def test_the_flash_chip_tells_of_itself() -> None:
    """RDID says Winbond, 4 MB; status registers keep what was written after a write-enable."""
    host = LoaderHost()
    host.sync()
    base = 0x3FF42000

    def spi(code: int, *, bits: int = 0, data: int = 0, sent: int = 0) -> int:
        for offset, value in (
            (0x24, 7 << 28 | code),
            (0x2C, max(bits - 1, 0)),
            (0x28, max(sent - 1, 0)),
            (0x80, data),
            (0, 1 << 18),
        ):
            host.words(0x09, base + offset, value, 0xFFFFFFFF, 0)
        assert 0 == host.words(0x0A, base)[0]
        return host.words(0x0A, base + 0x80)[0]

    assert 0x1640EF == spi(0x9F, bits=24)
    host.words(0x09, base, 1, 0xFFFFFFFF, 0)
    assert 0x1640EF == host.words(0x0A, base + 0x80)[0]
    spi(0x01, data=0x1C, sent=8)
    assert 0 == spi(0x05, bits=8)
    spi(0x06)
    spi(0x01, data=0x021F, sent=16)
    assert (0x1C, 0x02, 0) == (spi(0x05, bits=8), spi(0x35, bits=8), spi(0x15, bits=8))
    assert (0x50444653, 0) == (spi(0x5A, bits=32), spi(0xAB, bits=8))


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
@pytest.mark.parametrize("stub", [False, True])
@settings(max_examples=60, deadline=None)
@given(
    commands=st.lists(
        st.tuples(
            st.sampled_from(sorted({*ROM_COMMANDS, *STUB_COMMANDS})) | st.integers(0, 255),
            st.lists(
                st.sampled_from([0, 1, 4, 0x10, 0x100, 0x1000, 0x3FF000, 0xFFFFFFFF])
                | st.integers(0, 0xFFFFFFFF),
                max_size=6,
            ),
            st.binary(max_size=40),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=12,
    )
)
def test_no_command_makes_it_fail(
    chip: str, *, stub: bool, commands: list[tuple[int, list[int], bytes, int]]
) -> None:
    """Any commands in any order are answered or ignored; flash keeps its size and the loader lives."""
    host = LoaderHost(chip, size=0x20000)
    host.run_stub() if stub else host.sync()
    for op, words, tail, check in commands:
        data = struct.pack(f"<{len(words)}I", *words) + tail
        for known in (check, checksum(data[16:])):
            host.loader.receive(encode(struct.pack("<BBHI", 0, op, len(data), known) + data))
    assert 0x20000 == host.flash.size
    assert len(host.loader.take_events()) <= 256
    assert 8 == host.sync()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_noise_makes_it_fail(pieces: list[bytes]) -> None:
    """Whatever the wire brings, the next SYNC is answered."""
    host = LoaderHost()
    for piece in pieces:
        host.loader.receive(piece)
    assert host.loader.receive(b"\xc0")[:0] == b""
    assert 8 == host.sync()
    for piece in pieces:
        host.loader.receive(piece)
    host.loader.receive(b"\xc0")
    assert 8 == host.sync()


def test_ram_of_the_data_segment_alone_runs_nothing() -> None:
    """A stub without its code is no stub."""
    host = LoaderHost()
    host.sync()
    host.words(0x05, 4, 1, 0x1800, DATA_AT)
    host.block(0x07, 0, b"data")
    assert FAILED == host.words(0x06, 0, ENTRY)[2]


def test_what_is_no_command_is_ignored_or_refused() -> None:
    """Too short, an answer instead of a request, a wrong length, a wrong SYNC, an absurd window."""
    host = LoaderHost()
    host.sync()
    assert [] == host.exchange(b"short")
    assert [] == host.exchange(struct.pack("<BBHI", 1, 0x0A, 4, 0) + bytes(4))
    (answer,) = host.exchange(struct.pack("<BBHI", 0, 0x0A, 9, 0) + bytes(4))
    assert (1, 5) == tuple(answer[8:10])
    assert (1, 5) == host.command(0x08, b"no sync")[2]
    host.run_stub()
    for block, window in ((0, 64), (0x8000, 64), (0x1000, 0), (0x1000, 5000)):
        assert (0xC0, 0) == host.words(0xD2, 0, 0x1000, block, window)[2]
    assert [] == host.exchange(struct.pack("<I", 4))
    assert (0xC6, 0) == host.block(0x03, 0, b"abcd")


def test_the_watchdog_of_the_c3_bites_when_it_is_locked() -> None:
    """Set and locked it restarts the chip; locked without being set it does nothing."""
    host = LoaderHost("esp32c3")
    host.sync()
    host.words(0x09, 0x600080A8, 0, 0xFFFFFFFF, 0)
    assert ["download"] == kinds(host)
    host.words(0x09, 0x60008090, 1 << 31, 0xFFFFFFFF, 0)
    host.words(0x09, 0x600080A8, 0, 0xFFFFFFFF, 0)
    assert ["restart"] == kinds(host)


def test_running_user_code_has_no_answer() -> None:
    """The stub leaves for the program at once."""
    host = LoaderHost()
    host.run_stub()
    assert [] == host.raw(0xD3)
    assert "restart" == kinds(host)[-1]


def test_an_empty_block_writes_nothing() -> None:
    """A block without data is taken, and nothing is erased for it."""
    host = LoaderHost()
    host.run_stub()
    host.words(0x02, 0x1000, 4, 0x400, 0)
    assert OK == host.block(0x03, 0, b"")
    assert 0 == host.flash.operations


def test_a_host_that_does_not_wait_is_not_heard_out() -> None:
    """Thousands of commands at once get a bounded answer in bounded time, and the next one is answered."""
    host = LoaderHost()
    host.run_stub()
    read = struct.pack("<IIII", 0, 0x400000, 0x4000, 64)
    hashing = struct.pack("<IIII", 0, 0x400000, 0, 0)
    for op, data in ((0xD2, read), (0x13, hashing)):
        frame = encode(struct.pack("<BBHI", 0, op, len(data), 0) + data)
        assert len(host.loader.receive(frame * 2000)) < 4 << 20
        assert "noise" in kinds(host)
    assert 8 == host.sync()
