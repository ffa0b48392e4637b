"""The real esptool on the virtual board: what it says, and the whole of flash and fuses afterwards."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from labkit.firmware.flash_encryption import FlashKey
from tests.simulators.bench import BASE, DATA, KEY, NOISE, Bench, Case, expand

if TYPE_CHECKING:
    from pathlib import Path

ESP32, C3 = ("esp32",), ("esp32c3",)
PADDED = DATA + b"\xff" * (-len(DATA) % 4)
LINES = DATA + b"\xff" * (-len(DATA) % 32)
ENCRYPTED = {
    "esp32": {"BLOCK1": KEY[::-1], "FLASH_CRYPT_CNT": 1, "FLASH_CRYPT_CONFIG": 0xF},
    "esp32c3": {"BLOCK_KEY0": KEY[::-1], "KEY_PURPOSE_0": 4, "SPI_BOOT_CRYPT_CNT": 1},
}
CLOSED = {"esp32": {"UART_DOWNLOAD_DIS": 1}, "esp32c3": {"DIS_DOWNLOAD_MODE": 1}}
SECURE = {"ENABLE_SECURITY_DOWNLOAD": 1}
LONE_LINES = DATA + b"\xff" * (-len(DATA) % 16)
LOST = "Failed to connect to Espressif device: No serial data received"


def ram_image(chip: str) -> bytes:
    """Return an image for RAM with one small segment, as load-ram takes it."""
    at, data = {"esp32": 0x40080000, "esp32c3": 0x40390000}[chip], bytes(range(64))
    head = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, at)
    head += struct.pack(
        "<B3sHBHH4sB", 0xEE, bytes(3), {"esp32": 0, "esp32c3": 5}[chip], 0, 0, 0xFFFF, bytes(4), 0
    )
    body = head + struct.pack("<II", at, len(data)) + data
    check = 0xEF
    for byte in data:
        check ^= byte
    return body + bytes(15 - len(body) % 16) + bytes((check,))


def file_holds(name: str, expected: bytes) -> object:
    """Return a check that a command wrote a file."""

    def check(bench: Bench, _: str) -> None:
        assert expected == (bench.folder / name).read_bytes()

    return check


def console_says(text: str) -> object:
    """Return a check of the board's console."""

    def check(bench: Bench, _: str) -> None:
        assert bench.board.console.wait_for(text, timeout=5), bench.board.console.lines

    return check


def encrypted_write(chip: str) -> Case:
    """Return the case of a write that the chip encrypts."""
    key = FlashKey(KEY, xts=chip != "esp32")
    plain = LINES if chip == "esp32" else LONE_LINES
    return Case(
        "esptool -p {port} write-flash --encrypt 0x10020 {data}",
        ("Wrote", "Cannot verify written data if encrypted"),
        chips=(chip,),
        burned=ENCRYPTED[chip],
        writes=((0x10020, key.encrypt(0x10020, plain)),),
    )


QUICK = (
    Case("esptool -p {port} chip-id", ("Chip type: {title}", "24:dc:c3:a1:b2:c4", "Stub flasher running")),
    Case(
        "esptool -p {port} write-flash 0x8000 {data}",
        ("Compressed 6120 bytes", "Hash of data verified"),
        writes=((0x8000, PADDED),),
    ),
    Case(
        "esptool -p {port} --no-stub read-flash 0x100 0x123 {dir}/out.bin",
        ("Read 291 bytes from 0x00000100",),
        check=file_holds("out.bin", BASE[0x100:0x223]),
    ),
    Case("esptool -p {port} --connect-attempts 1 flash-id", (LOST,), 2, ESP32, CLOSED["esp32"]),
)

CASES = (
    # --- what it is
    Case("esptool -p {port} --no-stub chip-id", ("Chip type: {title}", "24:dc:c3:a1:b2:c4"), chips=ESP32),
    Case("esptool -p {port} --chip {chip} chip-id", ("Connected to {title}",)),
    Case("esptool -p {port} --chip esp32c3 chip-id", ("This chip is ESP32, not ESP32-C3. Wrong chip argument?",), 2, ESP32),
    Case("esptool -p {port} --chip esp32 chip-id", ("This chip is ESP32-C3, not ESP32. Wrong chip argument?",), 2, C3),
    Case("esptool -p {port} --chip esp32s3 chip-id", ("not ESP32-S3. Wrong chip argument?",), 2),
    Case("esptool -p {port} read-mac", ("MAC: 24:dc:c3:a1:b2:c4",)),
    Case("esptool -p {port} --no-stub read-mac", ("MAC: 24:dc:c3:a1:b2:c4",), chips=C3),
    Case("esptool --port {port} chip-id", ("revision v1.0",), chips=ESP32, revision=100),
    Case("esptool --port {port} chip-id", ("revision v1.1",), chips=C3, revision=101),
    Case("esptool -p {port} get-security-info", ("Secure Boot: Disabled", "Flash Encryption: Disabled"), chips=C3),
    Case("esptool -p {port} get-security-info", ("Failed to get security info (result was FF00: Command not implemented)",), 2, ESP32),
    Case(
        "esptool -p {port} --no-stub get-security-info",
        ("Secure Boot: Enabled", "Flash Encryption: Enabled", "BLOCK_KEY0 - XTS_AES_128_KEY", "Secure Boot Key1 is Revoked"),
        chips=C3,
        burned={**ENCRYPTED["esp32c3"], "SECURE_BOOT_EN": 1, "SECURE_BOOT_KEY_REVOKE1": 1},
    ),
    # --- flash chip
    Case("esptool -p {port} flash-id", ("Manufacturer: ef", "Device: 4016", "Detected flash size: 4MB")),
    Case("esptool -p {port} --no-stub flash-id", ("Manufacturer: ef", "Detected flash size: 4MB")),
    Case("esptool -p {port} read-flash-status", ("Flash memory status: 0x0000",)),
    Case("esptool -p {port} read-flash-status --bytes 3", ("Flash memory status: 0x0000",), chips=ESP32),
    Case(
        "esptool -p {port} --no-stub write-flash-status --non-volatile 0x1c",
        ("Initial flash memory status: 0x0000", "After flash memory status: 0x001c"),
    ),
    Case("esptool -p {port} read-flash-sfdp 0 4", ("SFDP[0..3]: 0x53 0x46 0x44 0x50",)),
    # --- baud rates
    Case("esptool -p {port} -b 921600 flash-id", ("Changing baud rate to 921600", "Detected flash size: 4MB")),
    Case("esptool -p {port} -b 230400 --no-stub flash-id", ("Changing baud rate to 230400", "Detected flash size: 4MB"), chips=C3),
    Case("esptool -p {port} -b 2000000 read-flash 0 0x1000 {dir}/out.bin", check=file_holds("out.bin", BASE[:0x1000]), chips=ESP32),
    Case("esptool -p {port} -b 9600 --no-stub chip-id", ("Crystal frequency: 40MHz",), port="pty", chips=C3),
    Case("esptool -p {port} -b 460800 chip-id", ("Crystal frequency: 40MHz",), port="pty", chips=ESP32),
    # --- writing
    Case("esptool -p {port} write-flash --no-compress 0x8000 {data}", ("Hash of data verified",), writes=((0x8000, PADDED),), chips=C3),
    Case("esptool -p {port} --no-stub write-flash 0x8000 {data}", ("Erasing flash", "Hash of data verified"), writes=((0x8000, PADDED),)),
    Case("esptool -p {port} --no-stub write-flash --compress 0x8000 {data}", ("Hash of data verified",), writes=((0x8000, PADDED),), chips=ESP32),
    Case("esptool -p {port} write-flash 0x3f0000 {noise}", ("Cannot compress", "Hash of data verified"), writes=((0x3F0000, NOISE),), chips=C3),
    Case("esptool -p {port} write-flash --erase-all 0x8000 {data}", ("Hash of data verified",), writes=((0x8000, PADDED),), erases=((0, 0x400000),)),
    Case("esptool -p {port} write-flash 0x8000 {data} 0x10000 {noise}", ("Hash of data verified",), writes=((0x8000, PADDED), (0x10000, NOISE)), chips=ESP32),
    Case("esptool -p {port} write-flash 0x8010 {data}", ("is not aligned",), writes=((0x8010, PADDED),)),
    Case("esptool -p {port} --no-stub write-flash 0x8010 {data}", ("is not aligned",), writes=((0x8010, PADDED),), chips=C3),
    Case("esptool -p {port} write-flash 0x3ff000 {huge}", ("will not fit in 4194304 bytes of flash",), 2, chips=ESP32),
    Case("esptool -p {port} write-flash 0x3fe000 {huge}", ("Hash of data verified",), writes=((0x3FE000, bytes(0x2000)),)),
    Case("esptool -p {port} write-flash --skip-flashed 0 {base}", ("already in flash, skipping write",), chips=C3),
    Case("esptool -p {port} write-flash 0x8000 {data} --diff-with {noise}", ("Hash of data verified",), writes=((0x8000, PADDED),), chips=ESP32),
    Case(
        "esptool -p {port} write-flash 0 {dir}/merged.bin",
        ("Hash of data verified",),
        first=("esptool --chip {chip} merge-bin -o merged.bin 0x1000 {noise} 0x3000 {data}",),
        writes=((0, b"\xff" * 0x1000 + NOISE + b"\xff" * 0x1000 + PADDED),),
    ),
    encrypted_write("esp32"),
    encrypted_write("esp32c3"),
    Case("esptool -p {port} write-flash --encrypt 0x10000 {data}", ("Flash encryption key is not programmed",), 2),
    Case("esptool -p {port} --no-stub write-flash --encrypt 0x10000 {data}", ("does not support encrypted writes",), 2, ESP32, ENCRYPTED["esp32"]),
    Case("esptool -p {port} write-flash --encrypt 0x10004 {data}", ("byte aligned, can't flash encrypted",), 2, ESP32, ENCRYPTED["esp32"]),
    Case("esptool -p {port} write-flash --encrypt 0x10004 {data}", ("byte aligned, can't flash encrypted",), 2, C3, ENCRYPTED["esp32c3"]),
    Case("esptool -p {port} write-flash --encrypt 0x20000 {data}", ("encrypt functionality in UART download mode disabled",), 2, ESP32, {**ENCRYPTED["esp32"], "DISABLE_DL_ENCRYPT": 1}),
    Case("esptool -p {port} write-flash --encrypt 0x20000 {data}", ("encrypt functionality in UART download mode disabled",), 2, C3, {**ENCRYPTED["esp32c3"], "DIS_DOWNLOAD_MANUAL_ENCRYPT": 1}),
    Case("esptool -p {port} write-flash 0x20000 {data}", ("Flashing plaintext data may brick your device",), 2, C3, {**ENCRYPTED["esp32c3"], "DIS_DOWNLOAD_MANUAL_ENCRYPT": 1}),
    # --- reading and comparing
    Case("esptool -p {port} read-flash 0x1234 0x4321 {dir}/out.bin", ("Read 17185 bytes",), check=file_holds("out.bin", BASE[0x1234:0x5555])),
    Case("esptool -p {port} read-flash 0x3fff00 0x200 {dir}/out.bin", ("larger than detected flash size",), 2, chips=C3),
    Case("esptool -p {port} verify-flash 0 {base}", ("Verification successful",)),
    Case("esptool -p {port} verify-flash 0x8000 {noise}", ("Verification failed",), 2),
    Case("esptool -p {port} verify-flash --diff 0x8000 {noise}", ("Verification failed", "first at 0x00008000"), 2, chips=ESP32),
    Case("esptool -p {port} --no-stub verify-flash 0 {base}", ("Verification successful",), chips=C3),
    # --- erasing
    Case("esptool -p {port} erase-flash", ("Flash memory erased successfully",), erases=((0, 0x400000),)),
    Case("esptool -p {port} erase-region 0x4000 0x3000", ("erased successfully",), erases=((0x4000, 0x3000),)),
    Case("esptool -p {port} erase-region 0x4001 0x3000", ("must be a multiple of 4096",), 2, chips=ESP32),
    Case("esptool -p {port} --no-stub erase-flash", ("does not support function erase_flash",), 2),
    Case("esptool -p {port} --no-stub erase-region 0 0x1000", ("erased successfully",), erases=((0, 0x1000),), chips=C3),
    Case("esptool -p {port} erase-flash", ("Active security features detected, erasing flash is disabled",), 2, ESP32, {"ABS_DONE_1": 1}),
    # --- memory and programs
    Case("esptool -p {port} read-mem 0x40001000", ("0x40001000 = 0x00f01d83",), chips=ESP32),
    Case("esptool -p {port} --no-stub write-mem 0x3ff48074 0x12345678", ("Wrote 0x12345678",), chips=ESP32),
    Case("esptool -p {port} --no-stub dump-mem 0x40001000 4 {dir}/out.bin", check=file_holds("out.bin", b"\x83\x1d\xf0\0"), chips=ESP32),
    Case("esptool -p {port} --no-stub load-ram {dir}/ram.bin", ("Failed to enter RAM download mode",), 2, check=console_says("this model runs no machine code")),
    Case("esptool -p {port} load-ram {dir}/ram.bin", ("Failed to enter RAM download mode",), 2, check=console_says("this model runs no machine code")),
    Case("esptool -p {port} --no-stub run", check=console_says("reset by the loader")),
    Case("esptool -p {port} run", check=console_says("port closed")),
    Case("esptool -p {port} --before no-reset --after no-reset flash-id", ("Detected flash size: 4MB",), chips=ESP32),
    Case("esptool -p {port} --after watchdog-reset --no-stub flash-id", ("Hard resetting with a watchdog",), chips=C3, check=console_says("reset by the watchdog")),
    # --- locked
    Case("esptool -p {port} --connect-attempts 1 chip-id", (LOST,), 2, C3, CLOSED["esp32c3"]),
    Case("esptool -p {port} chip-id", ("{title} in Secure Download Mode",), 2, C3, SECURE),
    Case("esptool -p {port} --no-stub get-security-info", ("{title} in Secure Download Mode", "Flags: 0x00000004"), chips=C3, burned=SECURE),
    Case("esptool -p {port} --no-stub read-flash 0 0x100 {dir}/out.bin", ("not available in Secure Download Mode",), 2, C3, SECURE),
    Case("esptool -p {port} --no-stub write-flash --flash-size 4MB 0x8000 {data}", ("Wrote",), chips=C3, burned=SECURE, writes=((0x8000, PADDED),)),
    Case("esptool -p {port} flash-id", ("Stub flasher is not supported on ESP32-C3 with Secure Boot, it has been disabled", "Detected flash size: 4MB"), chips=C3, burned={"SECURE_BOOT_EN": 1}),
    Case(
        "esptool -p {port} read-flash 0x10000 0x40 {dir}/out.bin",
        check=file_holds("out.bin", BASE[0x10000:0x10040]),
        burned=ENCRYPTED["esp32"],
        chips=ESP32,
    ),
)  # fmt: skip


def run(tmp_path: Path, case: Case, chip: str) -> None:
    """Run a case on a board of its own."""
    bench = Bench(tmp_path, case, chip)
    (tmp_path / "ram.bin").write_bytes(ram_image(chip))
    bench.run()


@pytest.mark.tool
@pytest.mark.parametrize("name", expand(QUICK))
def test_esptool_works_as_on_a_board(tmp_path: Path, name: str) -> None:
    """These few are tried every time."""
    run(tmp_path, *expand(QUICK)[name])


@pytest.mark.tool
@pytest.mark.slow(share=0.1)
@pytest.mark.parametrize("name", expand(CASES))
def test_esptool_works_in_every_way(tmp_path: Path, name: str) -> None:
    """Every command with every option that a course could need, refusals among them."""
    run(tmp_path, *expand(CASES)[name])
