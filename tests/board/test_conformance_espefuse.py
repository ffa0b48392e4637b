"""The real espefuse on the virtual board: what it says, and every fuse afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.simulators.bench import KEY, Bench, Case, expand, tool

if TYPE_CHECKING:
    from pathlib import Path

ESP32, C3 = ("esp32",), ("esp32c3",)
READ, BURN = "espefuse -p {port} --chip {chip}", "espefuse -p {port} --chip {chip} --do-not-confirm"
HIDDEN = {"esp32": {"BLOCK1": KEY, "RD_DIS": 1}, "esp32c3": {"BLOCK_KEY0": KEY, "RD_DIS": 1}}


def says_hidden(bench: Bench, said: str) -> None:
    """Check that no part of the key came out."""
    assert KEY[:4].hex(" ") not in said
    assert "?? ?? ??" in said


def json_agrees(bench: Bench, _: str) -> None:
    """Check that every field that the tool read has the value that the model holds."""
    told = json.loads((bench.folder / "out.json").read_text())
    fuses = bench.fuses_before
    seen = 0
    for field in fuses.fields:
        if (
            field.name not in told
            or field.length > 32
            or "TEMP" in field.name
            or "ADC1" in field.name
            or "VREF" in field.name
        ):
            continue
        value, expected = told[field.name]["value"], fuses.field(field.name)
        if isinstance(value, bool):
            assert bool(expected) == value, field.name
        elif isinstance(value, int):
            assert expected == value, field.name
        seen += 1
    assert seen >= 40


def three_quarters(data: bytes) -> bytes:
    """Return 24 bytes in the ESP32's 3/4 code: six of data, their exclusive or, and their bits by place."""
    coded = b""
    for start in range(0, 24, 6):
        part = data[start : start + 6]
        either = part[0] ^ part[1] ^ part[2] ^ part[3] ^ part[4] ^ part[5]
        coded += part + bytes((either, sum((n + 1) * byte.bit_count() for n, byte in enumerate(part))))
    return coded


def protection_agrees(bench: Bench, _: str) -> None:
    """Check that the tool and the model agree for every field on who may read and burn it."""
    told = json.loads((bench.folder / "out.json").read_text())
    fuses = bench.fuses_before
    seen = []
    for field in fuses.fields:
        if field.name in told:
            may_burn = fuses.writable(field.block) & field.mask == field.mask
            may_read = fuses.readable(field.block) & field.mask == field.mask
            seen.append((field.name, told[field.name]["readable"], told[field.name]["writeable"]))
            assert (field.name, may_read, may_burn) == seen[-1]
    assert len(seen) >= 40
    assert {True, False} == {reads for _, reads, _ in seen} == {burns for _, _, burns in seen}


def digest_burned(bench: Bench, _: str) -> None:
    """Check that the digest is the one that espsecure computes, and the one that the boot chain will use."""
    expected = (bench.folder / "digest.bin").read_bytes()
    (digest,) = bench.board.efuses.secure_boot_digests
    assert (expected, False) == (digest.digest, digest.revoked)


QUICK = (
    Case(f"{READ} summary", ("24:dc:c3:a1:b2:c4", "R/W")),
    Case(
        f"{BURN} burn-key BLOCK1 {{key}} flash_encryption"
        if False
        else f"{BURN} burn-key flash_encryption {{key}}",
        ("Successful",),
        chips=ESP32,
        burns={"BLOCK1": KEY[::-1], "WR_DIS": 1 << 7, "RD_DIS": 1},
    ),
    Case(
        f"{BURN} burn-key BLOCK_KEY0 {{key}} XTS_AES_128_KEY",
        ("Successful",),
        chips=C3,
        burns={"BLOCK_KEY0": KEY[::-1], "KEY_PURPOSE_0": 4, "WR_DIS": 1 << 23 | 1 << 8, "RD_DIS": 1},
    ),
)

CASES = (
    # --- reading
    Case(f"{READ} summary", ("CRC 0x", "OK"), chips=ESP32, revision=0),
    Case(f"{READ} summary --format json --file {{dir}}/out.json", check=json_agrees),
    *(
        Case(f"{READ} summary --format json --file {{dir}}/out.json", chips=(chip,), burned={"WR_DIS": writes, "RD_DIS": reads}, check=protection_agrees)
        for chip, writes, reads in (("esp32", 0x5554, 0b0101), ("esp32c3", 0x55555555, 0b0101010))
    ),
    *(
        Case(f"{READ} summary --format json --file={{dir}}/out.json", chips=(chip,), burned={"RD_DIS": reads, "WR_DIS": writes}, check=protection_agrees)
        for chip, writes, reads in (("esp32", 0xAAA8, 0b1010), ("esp32c3", 0xAAAAAAAA, 0b1010101))
    ),
    Case(f"{READ} summary --format value_only MAC", ("24:dc:c3:a1:b2:c4",)),
    Case(f"{READ} summary --active", ("MAC",)),
    Case(f"{READ} summary", chips=ESP32, burned=HIDDEN["esp32"], check=says_hidden),
    Case(f"{READ} summary WR_DIS BLOCK_KEY0", chips=C3, burned=HIDDEN["esp32c3"], check=says_hidden),
    Case(f"{READ} dump", ("BLOCK0",)),
    Case(f"{READ} check-error", ("No errors detected",)),
    Case(f"{READ} adc-info", ('Run "adc-info" command',)),
    Case(f"{READ} get-custom-mac", ("Custom MAC Address",)),
    Case(f"{READ} summary", ("Secure Download Mode is enabled. The tool can not read eFuses",), 2, C3, {"ENABLE_SECURITY_DOWNLOAD": 1}),
    # --- keys
    Case(f"{BURN} burn-key secure_boot_v2 {{key}}", ("Successful",), chips=ESP32, burns={"BLOCK2": KEY, "WR_DIS": 1 << 8}),
    Case(f"{BURN} burn-key BLOCK3 {{key}}", ("Successful",), chips=ESP32, burns={"BLOCK3": KEY, "WR_DIS": 1 << 9}),
    Case(f"{BURN} burn-key --no-protect-key BLOCK3 {{key}}", ("Successful",), chips=ESP32, burns={"BLOCK3": KEY}),
    Case(f"{BURN} burn-key BLOCK_KEY3 {{key}} HMAC_UP", ("Successful",), chips=C3, burns={"BLOCK_KEY3": KEY, "KEY_PURPOSE_3": 8, "WR_DIS": 1 << 26 | 1 << 11, "RD_DIS": 8}),
    Case(f"{BURN} burn-key BLOCK_KEY1 {{key}} SECURE_BOOT_DIGEST1", ("Successful",), chips=C3, burns={"BLOCK_KEY1": KEY, "KEY_PURPOSE_1": 10, "WR_DIS": 1 << 24 | 1 << 9}),
    Case(f"{BURN} burn-key BLOCK_KEY2 {{key}} USER", ("Successful",), chips=C3, burns={"BLOCK_KEY2": KEY, "WR_DIS": 1 << 25 | 1 << 10}),
    Case(f"{BURN} burn-key BLOCK_KEY4 {{key}} HMAC_DOWN_ALL --no-write-protect --no-read-protect", ("Successful",), chips=C3, burns={"BLOCK_KEY4": KEY, "KEY_PURPOSE_4": 5, "WR_DIS": 1 << 12}),
    Case(f"{BURN} burn-key BLOCK_KEY5 {{key}} XTS_AES_128_KEY", ("hardware bug",), 2, C3),
    Case(f"{BURN} burn-key flash_encryption {{key24}}", ("Successful",), chips=ESP32, burned={"CODING_SCHEME": 1}, burns={"BLOCK1": three_quarters(KEY[:24][::-1]), "WR_DIS": 1 << 7, "RD_DIS": 1}),
    Case(f"{READ} summary BLOCK3 CODING_SCHEME", (KEY[:24].hex(" "), "3/4 (BLK1-3 len=192 bits)"), chips=ESP32, burned={"CODING_SCHEME": 1, "BLOCK3": three_quarters(KEY[:24])}),
    Case(f"{BURN} burn-key flash_encryption {{short}}", ("Incorrect key file size",), 2, ESP32),
    Case(f"{BURN} burn-key BLOCK_KEY0 {{short}} USER", ("Incorrect key file size",), 2, C3),
    Case(f"{BURN} burn-key flash_encryption {{key}}", ("New value contains some bits that cannot be cleared",), 2, ESP32, {"BLOCK1": 0x40}),
    Case(f"{BURN} burn-key BLOCK_KEY0 {{key}} USER", ("Burn into BLOCK_KEY0 is forbidden (RS coding scheme does not allow this)",), 2, C3, {"BLOCK_KEY0": 5}),
    Case(f"{BURN} burn-key flash_encryption {{key}}", ("read-disabled due to the RD_DIS field being already write-disabled",), 2, ESP32, {"WR_DIS": 1}),
    Case(f"{BURN} burn-key-digest {{dir}}/rsa.pem", ("Successful",), chips=ESP32, burns={"BLOCK2": "digest.bin", "WR_DIS": 1 << 8}, check=digest_burned),
    Case(f"{BURN} burn-key-digest {{dir}}/rsa.pem", ("Incorrect chip revision for Secure boot v2. Detected: v1.0",), 2, ESP32, revision=100),
    Case(f"{BURN} burn-key-digest BLOCK_KEY2 {{dir}}/rsa.pem SECURE_BOOT_DIGEST0", ("Successful",), chips=C3, burns={"BLOCK_KEY2": "digest.bin", "KEY_PURPOSE_2": 9, "WR_DIS": 1 << 25 | 1 << 10}, check=digest_burned),
    # --- fields
    Case(f"{BURN} burn-efuse JTAG_DISABLE 1", ("Successful",), chips=ESP32, burns={"JTAG_DISABLE": 1}),
    Case(f"{BURN} burn-efuse ABS_DONE_1 1 JTAG_DISABLE 1 DISABLE_DL_ENCRYPT 1 DISABLE_DL_DECRYPT 1 DISABLE_DL_CACHE 1", ("Successful",), chips=ESP32, burns={"ABS_DONE_1": 1, "JTAG_DISABLE": 1, "DISABLE_DL_ENCRYPT": 1, "DISABLE_DL_DECRYPT": 1, "DISABLE_DL_CACHE": 1}),
    Case(f"{BURN} burn-efuse SECURE_BOOT_EN 1 DIS_PAD_JTAG 1 DIS_USB_JTAG 1 SPI_BOOT_CRYPT_CNT 7 DIS_DOWNLOAD_MANUAL_ENCRYPT 1", ("Successful",), chips=C3, burns={"SECURE_BOOT_EN": 1, "DIS_PAD_JTAG": 1, "DIS_USB_JTAG": 1, "SPI_BOOT_CRYPT_CNT": 7, "DIS_DOWNLOAD_MANUAL_ENCRYPT": 1}),
    Case(f"{BURN} burn-efuse SECURE_VERSION 3", ("Successful",), burns={"SECURE_VERSION": 3}),
    Case(f"{BURN} burn-efuse FLASH_CRYPT_CNT 127 FLASH_CRYPT_CONFIG 15", ("Successful",), chips=ESP32, burns={"FLASH_CRYPT_CNT": 127, "FLASH_CRYPT_CONFIG": 15}),
    Case(f"{BURN} burn-efuse UART_DOWNLOAD_DIS 1", ("Successful",), chips=ESP32, burns={"UART_DOWNLOAD_DIS": 1}),
    Case(f"{BURN} burn-efuse ENABLE_SECURITY_DOWNLOAD 1", ("Successful",), chips=C3, burns={"ENABLE_SECURITY_DOWNLOAD": 1}),
    Case(f"{BURN} burn-efuse DIS_DOWNLOAD_MODE 1", ("Successful",), chips=C3, burns={"DIS_DOWNLOAD_MODE": 1}),
    Case(f"{BURN} burn-efuse JTAG_DISABLE 1", ("JTAG_DISABLE is write-protected. Burn is not possible",), 2, ESP32, {"WR_DIS": 1 << 14}),
    Case(f"{BURN} burn-efuse SECURE_BOOT_EN 1", ("write",), 2, C3, {"WR_DIS": 1 << 15}),
    Case(f"{BURN} burn-efuse SECURE_BOOT_KEY_REVOKE0 1 write-protect-efuse SECURE_BOOT_KEY_REVOKE1", ("Successful",), chips=C3, burns={"SECURE_BOOT_KEY_REVOKE0": 1, "WR_DIS": 1 << 6}),
    Case(f"{BURN} burn-bit BLOCK3 1 2 200", ("Successful",), chips=ESP32, burns={"BLOCK3": 1 << 1 | 1 << 2 | 1 << 200}),
    Case(f"{BURN} burn-block-data BLOCK3 {{key}}", ("Successful",), chips=ESP32, burns={"BLOCK3": KEY}),
    Case(f"{BURN} burn-block-data BLOCK_USR_DATA {{key}}", ("Successful",), chips=C3, burns={"BLOCK_USR_DATA": KEY}),
    Case(f"{BURN} burn-custom-mac 24:dc:c3:dd:ee:ff", ("Successful",), chips=ESP32, burns={"CUSTOM_MAC": 0xFFEEDDC3DC24, "CUSTOM_MAC_CRC": 0x31, "MAC_VERSION": 1}),
    Case(f"{BURN} set-flash-voltage 3.3V", ("Successful",), chips=ESP32, burns={"XPD_SDIO_FORCE": 1, "XPD_SDIO_REG": 1, "XPD_SDIO_TIEH": 1}),
    Case(f"{BURN} set-flash-voltage 3.3V", ("No such command",), 2, C3),
    # --- protection
    Case(f"{BURN} read-protect-efuse BLOCK1", ("Successful",), chips=ESP32, burned={"BLOCK1": KEY}, burns={"RD_DIS": 1}),
    Case(f"{BURN} read-protect-efuse BLOCK_KEY0", ("Successful",), chips=C3, burned={"BLOCK_KEY0": KEY, "KEY_PURPOSE_0": 8}, burns={"RD_DIS": 1}),
    Case(f"{BURN} write-protect-efuse BLOCK2 JTAG_DISABLE", ("Successful",), chips=ESP32, burns={"WR_DIS": 1 << 8 | 1 << 14}),
    Case(f"{BURN} write-protect-efuse WR_DIS", ("Invalid value",), 2, C3),
    Case(f"{BURN} read-protect-efuse BLOCK3", ("already write-disabled",), 2, ESP32, {"WR_DIS": 1}),
    Case(f"{BURN} burn-key flash_encryption {{key}} burn-key-digest {{dir}}/rsa.pem burn-efuse ABS_DONE_1 1 FLASH_CRYPT_CNT 1 FLASH_CRYPT_CONFIG 15", ("Successful",), chips=ESP32, burns={"BLOCK1": KEY[::-1], "BLOCK2": "digest.bin", "WR_DIS": 3 << 7, "RD_DIS": 1, "ABS_DONE_1": 1, "FLASH_CRYPT_CNT": 1, "FLASH_CRYPT_CONFIG": 15}, check=digest_burned),
)  # fmt: skip


@pytest.fixture(scope="session")
def rsa_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a signing key, made by the real espsecure, with its digest beside it."""
    folder = tmp_path_factory.mktemp("keys")
    for words in (
        "espsecure generate-signing-key --version 2 --scheme rsa3072 rsa.pem",
        "espsecure digest-sbv2-public-key --keyfile rsa.pem --output digest.bin",
    ):
        done = tool(words.split(), folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(tmp_path: Path, rsa_key: Path, case: Case, chip: str) -> None:
    """Run a case on a board of its own."""
    for name in ("rsa.pem", "digest.bin"):
        (tmp_path / name).write_bytes((rsa_key / name).read_bytes())
    Bench(tmp_path, case, chip).run()


@pytest.mark.tool
@pytest.mark.parametrize("name", expand(QUICK))
def test_espefuse_works_as_on_a_board(tmp_path: Path, rsa_key: Path, name: str) -> None:
    """These few are tried every time."""
    run(tmp_path, rsa_key, *expand(QUICK)[name])


@pytest.mark.tool
@pytest.mark.slow(share=0.1)
@pytest.mark.parametrize("name", expand(CASES))
def test_espefuse_works_in_every_way(tmp_path: Path, rsa_key: Path, name: str) -> None:
    """Every command and kind of fuse that a course could need, refusals among them."""
    run(tmp_path, rsa_key, *expand(CASES)[name])
