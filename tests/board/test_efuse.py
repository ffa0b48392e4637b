"""Fuses: what is burned stays, what is protected can't be burned or seen, and the boot chain sees all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.board import CHIPS, Efuses, find_chip
from labkit.board.efuse_controller import BURN, READ, EfuseController
from labkit.board.efuse_factory import mac_checksum, version_text
from labkit.board.efuse_fields import purpose_name
from labkit.errors import ChipUnknownError, EfuseProtectedError, EfuseUnknownError, FormatError

MAC = bytes.fromhex("24dcc3a1b2c4")
KEY = bytes(range(1, 33))


def fresh(name: str, revision: int | None = None) -> Efuses:
    """Return a chip from the factory."""
    return Efuses.fresh(CHIPS[name], mac=MAC, revision=revision)


both = pytest.mark.parametrize("name", ["esp32", "esp32c3"])


@both
def test_the_factory_burns_mac_and_revision(name: str) -> None:
    """A fresh chip knows its MAC and its revision and is open."""
    efuses = fresh(name)
    assert (MAC, CHIPS[name].revisions[0]) == (efuses.mac, efuses.revision)
    assert ("open", False, False, False) == (
        efuses.download,
        efuses.jtag_disabled,
        efuses.secure_boot_enabled,
        efuses.flash_encryption_enabled,
    )
    assert ((), None, 0) == (efuses.secure_boot_digests, efuses.flash_encryption_key, efuses.secure_version)
    assert f"Efuses({CHIPS[name].title}, revision {efuses.revision}, 24:dc:c3:a1:b2:c4)" == repr(efuses)


@pytest.mark.parametrize(("name", "revision"), [(c.name, r) for c in CHIPS.values() for r in c.revisions])
def test_each_revision_reads_back(name: str, revision: int) -> None:
    """Silicon and fuses together say which revision it is."""
    assert revision == fresh(name, revision).revision


def test_the_mac_has_its_checksum() -> None:
    """The CRC-8 is the one that Espressif's factory burns (esptool checks it too, see test_conformance)."""
    assert mac_checksum(MAC) == fresh("esp32").field("MAC_CRC")
    assert 0 == mac_checksum(bytes(6))


def test_a_revision_that_was_never_made_is_refused() -> None:
    """The error names what is known."""
    with pytest.raises(EfuseUnknownError) as caught:
        fresh("esp32", 200)
    assert "200" == caught.value.name
    assert "v3.1" in caught.value.advice
    assert "v3.1" == version_text(301)


def test_a_mac_has_six_bytes() -> None:
    """Anything else is a programmer's mistake."""
    with pytest.raises(ValueError, match="six bytes"):
        Efuses.fresh(CHIPS["esp32"], mac=b"abc")


@pytest.mark.parametrize("text", ["esp32c3", "ESP32-C3", "Esp32C3"])
def test_a_chip_is_found_however_it_is_written(text: str) -> None:
    """Espressif's spelling and ours lead to the same chip."""
    assert CHIPS["esp32c3"] is find_chip(text)


def test_an_unknown_chip_is_refused() -> None:
    """The error lists the chips."""
    with pytest.raises(ChipUnknownError) as caught:
        find_chip("esp8266")
    assert ("esp8266", ("esp32", "esp32c3")) == (caught.value.name, caught.value.known)


@both
def test_fields_do_not_overlap(name: str) -> None:
    """Each bit of block 0 belongs to one field at most, and every field lies in its block."""
    efuses = fresh(name)
    seen = 0
    for field in efuses.fields:
        assert field.start + field.length <= 32 * efuses.blocks[field.block].words, field.name
        if field.block == 0:
            assert not seen & field.mask, field.name
            seen |= field.mask


@both
def test_burned_bits_stay(name: str) -> None:
    """A bit that is 1 can't become 0 again, by the name or by the controller."""
    efuses = fresh(name)
    efuses.burn({"WR_DIS": 1 << 5})
    with pytest.raises(EfuseProtectedError) as caught:
        efuses.burn({"WR_DIS": 1 << 6})
    assert ("WR_DIS", "burned", 1 << 5) == (caught.value.name, caught.value.rule, efuses.field("WR_DIS"))
    efuses.program(0, bytes(32))
    assert 1 << 5 == efuses.field("WR_DIS")
    efuses.burn({"WR_DIS": 3 << 5})
    assert 3 << 5 == efuses.field("WR_DIS")


@pytest.mark.parametrize(
    ("name", "bit", "field", "value"),
    [
        ("esp32", 7, "BLOCK1", KEY),
        ("esp32", 8, "BLOCK2", KEY),
        ("esp32", 9, "SECURE_VERSION", 1),
        ("esp32", 2, "FLASH_CRYPT_CNT", 1),
        ("esp32", 2, "UART_DOWNLOAD_DIS", 1),
        ("esp32", 0, "RD_DIS", 1),
        ("esp32", 14, "JTAG_DISABLE", 1),
        ("esp32", 13, "ABS_DONE_1", 1),
        ("esp32c3", 23, "BLOCK_KEY0", KEY),
        ("esp32c3", 28, "KEY5", KEY),
        ("esp32c3", 0, "RD_DIS", 1),
        ("esp32c3", 8, "KEY_PURPOSE_0", 4),
        ("esp32c3", 15, "SECURE_BOOT_EN", 1),
        ("esp32c3", 4, "SPI_BOOT_CRYPT_CNT", 1),
        ("esp32c3", 18, "ENABLE_SECURITY_DOWNLOAD", 1),
        ("esp32c3", 6, "SECURE_BOOT_KEY_REVOKE1", 1),
    ],
)
def test_write_protection_holds(name: str, bit: int, field: str, value: int | bytes) -> None:
    """A protected field is refused by name and ignored by the controller; without its bit it can be burned."""
    free = fresh(name)
    free.burn({field: value})
    efuses = fresh(name)
    efuses.burn({"WR_DIS": 1 << bit})
    before = efuses.to_bytes()
    with pytest.raises(EfuseProtectedError) as caught:
        efuses.burn({field: value})
    assert ("write-protected", field == "KEY5") == (caught.value.rule, caught.value.name != field)
    for block in efuses.blocks:
        if block.number == efuses._find(field).block:
            efuses.program(block.number, free.raw(block.number))
    assert efuses.field(field) == Efuses.from_bytes(before).field(field)
    assert 0 != free.field(field)


def test_wr_dis_itself_can_be_protected() -> None:
    """On the ESP32 bit 1 of WR_DIS holds the others as they are."""
    efuses = fresh("esp32")
    efuses.burn({"WR_DIS": 2})
    with pytest.raises(EfuseProtectedError):
        efuses.burn({"WR_DIS": 3})
    assert 2 == efuses.field("WR_DIS")


@pytest.mark.parametrize(
    ("name", "bit", "block"),
    [("esp32", 0, "BLOCK1"), ("esp32", 1, "BLOCK2"), ("esp32", 2, "BLOCK3")]
    + [("esp32c3", n, f"BLOCK_KEY{n}") for n in range(6)]
    + [("esp32c3", 6, "BLOCK_SYS_DATA2")],
)
def test_a_hidden_key_is_seen_by_the_chip_alone(name: str, bit: int, block: str) -> None:
    """RD_DIS turns what a program reads to zeros, and leaves the true bits."""
    efuses = fresh(name)
    efuses.burn({block: KEY})
    number = efuses._find(block).block
    assert KEY == efuses.visible(number)
    efuses.burn({"RD_DIS": 1 << bit})
    assert (bytes(32), KEY) == (efuses.visible(number), efuses.block(block))


def test_bit_3_hides_the_settings_of_the_flash_encryption() -> None:
    """On the ESP32 RD_DIS bit 3 hides FLASH_CRYPT_CONFIG and the coding scheme, and nothing else of block 0."""
    efuses = fresh("esp32")
    efuses.burn({"FLASH_CRYPT_CONFIG": 0xF, "RD_DIS": 8})
    shown = int.from_bytes(efuses.visible(0), "little")
    assert (0, 0xF, 8) == (shown >> 188 & 0xF, efuses.flash_crypt_config, shown >> 16 & 0xF)


def test_the_esp32_boots_by_its_digest() -> None:
    """Secure Boot V2 asks for ABS_DONE_1 and for silicon of revision 3."""
    efuses = fresh("esp32")
    efuses.burn({"BLOCK2": KEY, "ABS_DONE_1": 1})
    assert efuses.secure_boot_enabled
    assert [(0, KEY, False)] == [(d.index, d.digest, d.revoked) for d in efuses.secure_boot_digests]
    old = fresh("esp32", 101)
    old.burn({"ABS_DONE_1": 1, "UART_DOWNLOAD_DIS": 1})
    assert (False, "open") == (old.secure_boot_enabled, old.download)


def test_the_c3_has_three_digests_and_revocation() -> None:
    """Purposes 9 to 11 make a block a digest; a revoked one is told as such."""
    efuses = fresh("esp32c3")
    efuses.burn({"KEY_PURPOSE_4": 10, "BLOCK_KEY4": KEY, "KEY_PURPOSE_1": 9, "BLOCK_KEY1": KEY[::-1]})
    efuses.burn({"SECURE_BOOT_EN": 1, "SECURE_BOOT_KEY_REVOKE1": 1})
    expected = [(0, KEY[::-1], False), (1, KEY, True)]
    assert expected == [(d.index, d.digest, d.revoked) for d in efuses.secure_boot_digests]
    assert efuses.secure_boot_enabled


def test_flash_encryption_counts_its_bits() -> None:
    """An odd number of bits switches it on; the key comes in the order of its file."""
    c3, esp32 = fresh("esp32c3"), fresh("esp32")
    c3.burn({"KEY_PURPOSE_2": 4, "BLOCK_KEY2": KEY[::-1], "SPI_BOOT_CRYPT_CNT": 7})
    esp32.burn({"BLOCK1": KEY[::-1], "FLASH_CRYPT_CNT": 3, "FLASH_CRYPT_CONFIG": 0xF})
    assert (True, KEY, 0) == (c3.flash_encryption_enabled, c3.flash_encryption_key, c3.flash_crypt_config)
    assert (False, KEY) == (esp32.flash_encryption_enabled, esp32.flash_encryption_key)


def test_a_key_of_the_three_quarters_code_has_24_bytes() -> None:
    """With CODING_SCHEME 1 six of eight bytes are data, in what is seen and in the key."""
    efuses = fresh("esp32")
    coded = b"".join(bytes([n + 1] * 6) + b"\0\0" for n in range(4))
    efuses.burn({"BLOCK1": coded, "CODING_SCHEME": 1})
    plain = b"".join(bytes([n + 1] * 6) for n in range(4))
    assert (plain[::-1], plain + bytes(8)) == (efuses.flash_encryption_key, efuses.visible(1))


def test_hmac_keys_are_for_their_purpose_only() -> None:
    """A block is an HMAC key by its purpose; every other index has none."""
    efuses = fresh("esp32c3")
    efuses.burn({"KEY_PURPOSE_3": 8, "BLOCK_KEY3": KEY, "KEY_PURPOSE_0": 9, "BLOCK_KEY0": KEY})
    assert [None, None, None, KEY, None, None, None] == [efuses.hmac_key(n) for n in range(7)]
    assert fresh("esp32").hmac_key(0) is None
    assert ("HMAC_UP", "RESERVED_15") == (purpose_name(8), purpose_name(15))


@pytest.mark.parametrize(
    ("name", "fields", "download"),
    [
        ("esp32", {"UART_DOWNLOAD_DIS": 1}, "disabled"),
        ("esp32c3", {"ENABLE_SECURITY_DOWNLOAD": 1}, "secure"),
        ("esp32c3", {"ENABLE_SECURITY_DOWNLOAD": 1, "DIS_DOWNLOAD_MODE": 1}, "disabled"),
    ],
)
def test_the_serial_loader_can_be_closed(name: str, fields: dict[str, int], download: str) -> None:
    """Each chip has its own switches for it."""
    efuses = fresh(name)
    efuses.burn(fields)
    assert download == efuses.download


def test_jtag_is_off_when_every_way_is() -> None:
    """The C3 has two ways in, the ESP32 one."""
    esp32, c3 = fresh("esp32"), fresh("esp32c3")
    esp32.burn({"JTAG_DISABLE": 1})
    c3.burn({"DIS_PAD_JTAG": 1})
    assert (True, False) == (esp32.jtag_disabled, c3.jtag_disabled)
    c3.burn({"DIS_USB_JTAG": 1})
    assert c3.jtag_disabled


def test_secure_version_counts_bits() -> None:
    """The version is how many bits are burned."""
    efuses = fresh("esp32c3")
    efuses.burn({"SECURE_VERSION": 0b111})
    assert 3 == efuses.secure_version


@pytest.mark.parametrize("name", ["NO_SUCH", "ABS_DONE_9"])
def test_an_unknown_field_is_refused(name: str) -> None:
    """The error has its name; nothing was burned of the rest."""
    efuses = fresh("esp32")
    for ask in (efuses.field, efuses.block):
        with pytest.raises(EfuseUnknownError) as caught:
            ask(name)
        assert name == caught.value.name
    with pytest.raises(EfuseUnknownError):
        efuses.burn({"ABS_DONE_1": 1, name: 1})
    with pytest.raises(EfuseUnknownError, match="1 bits"):
        efuses.burn({"ABS_DONE_1": 2})
    assert 0 == efuses.field("ABS_DONE_1")


@both
def test_a_file_holds_everything(name: str) -> None:
    """What was written comes back, hidden keys and damage among it; a copy is one of its own."""
    efuses = fresh(name)
    efuses.burn({"RD_DIS": 1, efuses.blocks[-1].name: KEY})
    efuses.damaged.add(3)
    again = Efuses.from_bytes(efuses.to_bytes())
    assert (efuses.to_bytes(), {3}) == (again.to_bytes(), again.damaged)
    copied = efuses.copy()
    copied.burn({"WR_DIS": 1})
    assert 0 == efuses.field("WR_DIS")


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_file_with_one_bit_wrong_is_refused(at: int, bit: int) -> None:
    """The checksum covers it all."""
    data = bytearray(fresh("esp32").to_bytes())
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(FormatError) as caught:
        Efuses.from_bytes(bytes(data))
    assert "efuse" == caught.value.what


def test_a_file_of_another_chip_or_length_is_refused() -> None:
    """The offset says where it stops making sense."""
    data = fresh("esp32").to_bytes()
    for wrong, offset in ((data + b"x", 28), (data[:9] + b"esp8266" + data[16:], 9), (data[:-1], 28)):
        with pytest.raises(FormatError) as caught:
            Efuses.from_bytes(wrong)
        assert offset == caught.value.offset


@given(st.binary(max_size=400))
def test_no_other_bytes_are_fuses(data: bytes) -> None:
    """Anything else is a format error."""
    with pytest.raises(FormatError) as caught:
        Efuses.from_bytes(data)
    assert "efuse" == caught.value.what


# --- the controllers ------------------------------------------------------------------------------------------------


def test_the_esp32_burns_with_its_two_registers() -> None:
    """The code in CONF must be right; then CMD burns every window, and the next read shows it."""
    efuses = fresh("esp32")
    registers = EfuseController(efuses)
    registers.write(0x098, 0x12345678)
    registers.write(0x104, 2)
    assert bytes(32) == efuses.block("BLOCK1")
    registers.write(0x0FC, BURN)
    registers.write(0x104, 2)
    assert (0x12345678, 0, 0) == (efuses.field("BLOCK1"), registers.read(0x038), registers.read(0x104))
    registers.write(0x0FC, READ)
    registers.write(0x104, 1)
    assert 0x12345678 == registers.read(0x038)


def test_protection_shows_after_the_next_read() -> None:
    """A key and its read protection burned together are gone from sight when the fuses are read anew."""
    efuses = fresh("esp32c3")
    registers = EfuseController(efuses)
    efuses.burn({"BLOCK_KEY0": KEY})
    registers.refresh()
    efuses.burn({"RD_DIS": 1})
    assert 0x04030201 == registers.read(0x09C)
    registers.write(0x1CC, READ)
    registers.write(0x1D4, 1)
    assert 0 == registers.read(0x09C)


def test_a_second_programming_spoils_a_block_of_the_c3() -> None:
    """Its code no longer fits, and the error registers say so; the first block has no such code."""
    efuses = fresh("esp32c3")
    registers = EfuseController(efuses)
    for value in (1, 1, 3):
        registers.write(0, value)
        registers.write(0x1CC, BURN)
        registers.write(0x1D4, 2 | 4 << 2)
        assert (value == 3) == (4 in efuses.damaged)
        registers.write(0, 1 << value)
        registers.write(0x1D4, 2)
    registers.refresh()
    assert (7 << 12 | 1 << 19, 0) == (registers.read(0x1C0), registers.read(0x1C4))
    assert {4} == efuses.damaged


def test_what_is_shown_can_not_be_written() -> None:
    """Reading registers are read-only, and other blocks than there are do nothing."""
    efuses = fresh("esp32c3")
    registers = EfuseController(efuses)
    before = (registers.read(0x044), efuses.to_bytes())
    registers.write(0x044, 0)
    registers.write(0x1CC, BURN)
    registers.write(0, 0xFFFFFFFF)
    registers.write(0x1D4, 2 | 15 << 2)
    assert before == (registers.read(0x044), efuses.to_bytes())


@both
@settings(deadline=None)  # a slow machine is no mistake
@given(
    writes=st.lists(
        st.tuples(
            st.sampled_from(
                [0, 4, 8, 12, 16, 20, 0x1C, 0x20, 0x30, 0x34, 0x98, 0xB8, 0xD8, 0xFC, 0x104, 0x1CC, 0x1D4]
            )
            | st.integers(0, 0x1FF),
            st.sampled_from([0, 1, 2, BURN, READ, 0xFFFFFFFF, *(2 | n << 2 for n in range(16))])
            | st.integers(0, 0xFFFFFFFF),
        ),
        max_size=30,
    )
)
def test_whatever_is_written_bits_only_grow(name: str, writes: list[tuple[int, int]]) -> None:
    """No sequence of register writes clears a fuse, changes a protected one, or shows a hidden one."""
    efuses = fresh(name)
    registers = EfuseController(efuses)
    for offset, value in [
        *writes,
        (0xFC if name == "esp32" else 0x1CC, READ),
        (0x104 if name == "esp32" else 0x1D4, 1),
    ]:
        before = [int.from_bytes(efuses.raw(block.number), "little") for block in efuses.blocks]
        free = [efuses.writable(block.number) for block in efuses.blocks]
        registers.write(offset, value)
        for block in efuses.blocks:
            now = int.from_bytes(efuses.raw(block.number), "little")
            assert before[block.number] == now & before[block.number]
            assert 0 == (now ^ before[block.number]) & ~free[block.number]
    for block in efuses.blocks:
        shown = b"".join(
            registers.read(block.read_at + 4 * n).to_bytes(4, "little") for n in range(block.words)
        )
        assert efuses.visible(block.number) == shown
