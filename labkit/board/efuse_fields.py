"""Which bit of the eFuses means what, and which other bit protects it, for both chips.

The numbers are those of Espressif's technical reference manuals (chapter *eFuse Controller*) and of the tables
`components/efuse/<chip>/esp_efuse_table.csv` in ESP-IDF; the names are those that `espefuse` prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Block:
    """One block of fuses.

    Attributes:
        number: Its number.
        name: Its name.
        words: Its length in words of 32 bits.
        read_at: Where the controller shows it, as an offset.
        write_bit: The bit of WR_DIS that protects all of it from being burned.
        read_bit: The bit of RD_DIS that hides it.
        aliases: Other names.
    """

    number: int
    name: str
    words: int
    read_at: int
    write_bit: int | None = None
    read_bit: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of a block that mean something; attributes as in `Block`."""

    name: str
    block: int
    start: int
    length: int
    write_bit: int | None = None
    read_bit: int | None = None
    aliases: tuple[str, ...] = ()

    @property
    def mask(self) -> int:
        """The field's bits, set, where they are in the block."""
        return ((1 << self.length) - 1) << self.start


ESP32_BLOCKS = (
    Block(0, "BLOCK0", 7, 0x000),
    Block(1, "BLOCK1", 8, 0x038, 7, 0, ("ENCRYPT_FLASH_KEY",)),
    Block(2, "BLOCK2", 8, 0x058, 8, 1, ("SECURE_BOOT_KEY",)),
    Block(3, "BLOCK3", 8, 0x078, 9, 2),
)

ESP32C3_BLOCKS = (
    Block(0, "BLOCK0", 6, 0x02C),
    Block(1, "MAC_SPI_8M_0", 6, 0x044, 20, None, ("BLOCK1",)),
    Block(2, "BLOCK_SYS_DATA", 8, 0x05C, 21, None, ("BLOCK2",)),
    Block(3, "BLOCK_USR_DATA", 8, 0x07C, 22, None, ("BLOCK3", "USER_DATA")),
    *(
        Block(4 + n, f"BLOCK_KEY{n}", 8, 0x09C + 0x20 * n, 23 + n, n, (f"BLOCK{4 + n}", f"KEY{n}"))
        for n in range(6)
    ),
    Block(10, "BLOCK_SYS_DATA2", 8, 0x15C, 29, 6, ("BLOCK10", "SYS_DATA_PART2")),
)

# name [= alias ...] first-bit length [write-bit [read-bit]]; lines that begin with @ choose the block.
_ESP32 = """
@0
WR_DIS 0 16 1
RD_DIS 16 4 0
FLASH_CRYPT_CNT 20 7 2
UART_DOWNLOAD_DIS 27 1 2
MAC = MAC_FACTORY 32 48 3
MAC_CRC = MAC_FACTORY_CRC 80 8 3
DISABLE_APP_CPU = CHIP_VER_DIS_APP_CPU 96 1 3
DISABLE_BT = CHIP_VER_DIS_BT 97 1 3
CHIP_PACKAGE_4BIT = CHIP_VER_PKG_4BIT 98 1
DIS_CACHE = CHIP_VER_DIS_CACHE 99 1 3
SPI_PAD_CONFIG_HD 100 5
CHIP_PACKAGE = CHIP_VER_PKG 105 3
CHIP_CPU_FREQ_LOW 108 1
CHIP_CPU_FREQ_RATED 109 1
BLK3_PART_RESERVE 110 1 10 3
CHIP_VER_REV1 111 1
CLK8M_FREQ = CK8M_FREQ 128 8 4
ADC_VREF 136 5 4
XPD_SDIO_REG 142 1 5
XPD_SDIO_TIEH = SDIO_TIEH 143 1 5
XPD_SDIO_FORCE = SDIO_FORCE 144 1 5
SPI_PAD_CONFIG_CLK 160 5 6
SPI_PAD_CONFIG_Q 165 5 6
SPI_PAD_CONFIG_D 170 5 6
SPI_PAD_CONFIG_CS0 175 5 6
CHIP_VER_REV2 180 1
VOL_LEVEL_HP_INV 182 2 3
WAFER_VERSION_MINOR 184 2
FLASH_CRYPT_CONFIG = ENCRYPT_CONFIG 188 4 10 3
CODING_SCHEME 192 2 10 3
CONSOLE_DEBUG_DISABLE 194 1 15
DISABLE_SDIO_HOST 195 1
ABS_DONE_0 196 1 12
ABS_DONE_1 197 1 13
JTAG_DISABLE = DISABLE_JTAG 198 1 14
DISABLE_DL_ENCRYPT 199 1 15
DISABLE_DL_DECRYPT 200 1 15
DISABLE_DL_CACHE 201 1 15
KEY_STATUS 202 1 10 3
@3
CUSTOM_MAC_CRC = MAC_CUSTOM_CRC 0 8 9 2
CUSTOM_MAC = MAC_CUSTOM 8 48 9 2
ADC1_TP_LOW 96 7 9 2
ADC1_TP_HIGH 103 9 9 2
ADC2_TP_LOW 112 7 9 2
ADC2_TP_HIGH 119 9 9 2
SECURE_VERSION 128 32 9 2
MAC_VERSION = MAC_CUSTOM_VER 184 8 9 2
"""

_ESP32C3 = """
@0
WR_DIS 0 32
RD_DIS 32 7 0
DIS_RTC_RAM_BOOT 39 1 1
DIS_ICACHE 40 1 2
DIS_USB_JTAG 41 1 2
DIS_DOWNLOAD_ICACHE 42 1 2
DIS_USB_SERIAL_JTAG = DIS_USB_DEVICE 43 1 2
DIS_FORCE_DOWNLOAD 44 1 2
DIS_TWAI = DIS_CAN 46 1 2
JTAG_SEL_ENABLE 47 1 2
SOFT_DIS_JTAG 48 3 31
DIS_PAD_JTAG 51 1 2
DIS_DOWNLOAD_MANUAL_ENCRYPT 52 1 2
USB_DREFH 53 2 30
USB_DREFL 55 2 30
USB_EXCHG_PINS 57 1 30
VDD_SPI_AS_GPIO 58 1 30
BTLC_GPIO_ENABLE 59 2 30
POWERGLITCH_EN 61 1 3
POWER_GLITCH_DSENSE 62 2 3
WDT_DELAY_SEL 80 2 3
SPI_BOOT_CRYPT_CNT 82 3 4
SECURE_BOOT_KEY_REVOKE0 85 1 5
SECURE_BOOT_KEY_REVOKE1 86 1 6
SECURE_BOOT_KEY_REVOKE2 87 1 7
KEY_PURPOSE_0 = KEY0_PURPOSE 88 4 8
KEY_PURPOSE_1 = KEY1_PURPOSE 92 4 9
KEY_PURPOSE_2 = KEY2_PURPOSE 96 4 10
KEY_PURPOSE_3 = KEY3_PURPOSE 100 4 11
KEY_PURPOSE_4 = KEY4_PURPOSE 104 4 12
KEY_PURPOSE_5 = KEY5_PURPOSE 108 4 13
SECURE_BOOT_EN 116 1 15
SECURE_BOOT_AGGRESSIVE_REVOKE 117 1 16
FLASH_TPUW 124 4 18
DIS_DOWNLOAD_MODE 128 1 18
DIS_DIRECT_BOOT = DIS_LEGACY_SPI_BOOT 129 1 18
DIS_USB_SERIAL_JTAG_ROM_PRINT = UART_PRINT_CHANNEL 130 1 18
FLASH_ECC_MODE 131 1 18
DIS_USB_SERIAL_JTAG_DOWNLOAD_MODE = DIS_USB_DOWNLOAD_MODE 132 1 18
ENABLE_SECURITY_DOWNLOAD 133 1 18
UART_PRINT_CONTROL 134 2 18
PIN_POWER_SELECTION 136 1 18
FLASH_TYPE 137 1 18
FLASH_PAGE_SIZE 138 2 18
FLASH_ECC_EN 140 1 18
FORCE_SEND_RESUME 141 1 18
SECURE_VERSION 142 16 18
ERR_RST_ENABLE 159 1 19
DISABLE_WAFER_VERSION_MAJOR 160 1 19
DISABLE_BLK_VERSION_MAJOR 161 1 19
@1
MAC = MAC_FACTORY 0 48 20
SPI_PAD_CONFIG_CLK 48 6 20
SPI_PAD_CONFIG_Q 54 6 20
SPI_PAD_CONFIG_D 60 6 20
SPI_PAD_CONFIG_CS 66 6 20
SPI_PAD_CONFIG_HD 72 6 20
SPI_PAD_CONFIG_WP 78 6 20
SPI_PAD_CONFIG_DQS 84 6 20
SPI_PAD_CONFIG_D4 90 6 20
SPI_PAD_CONFIG_D5 96 6 20
SPI_PAD_CONFIG_D6 102 6 20
SPI_PAD_CONFIG_D7 108 6 20
WAFER_VERSION_MINOR_LO 114 3 20
PKG_VERSION 117 3 20
BLK_VERSION_MINOR 120 3 20
FLASH_CAP 123 3 20
FLASH_TEMP 126 2 20
FLASH_VENDOR 128 3 20
K_RTC_LDO 135 7 20
K_DIG_LDO 142 7 20
V_RTC_DBIAS20 149 8 20
V_DIG_DBIAS20 157 8 20
DIG_DBIAS_HVT 165 5 20
THRES_HVT 170 10 20
WAFER_VERSION_MINOR_HI 183 1 20
WAFER_VERSION_MAJOR 184 2 20
@2
OPTIONAL_UNIQUE_ID 0 128 21
BLK_VERSION_MAJOR 128 2 21
TEMP_CALIB 131 9 21
OCODE 140 8 21
ADC1_INIT_CODE_ATTEN0 148 10 21
ADC1_INIT_CODE_ATTEN1 158 10 21
ADC1_INIT_CODE_ATTEN2 168 10 21
ADC1_INIT_CODE_ATTEN3 178 10 21
ADC1_CAL_VOL_ATTEN0 188 10 21
ADC1_CAL_VOL_ATTEN1 198 10 21
ADC1_CAL_VOL_ATTEN2 208 10 21
ADC1_CAL_VOL_ATTEN3 218 10 21
@3
CUSTOM_MAC = MAC_CUSTOM USER_DATA_MAC_CUSTOM 200 48 22
"""


def _fields(table: str, blocks: tuple[Block, ...]) -> Iterator[Field]:
    block = 0
    for line in table.split("\n"):
        words = line.split()
        if line.startswith("@"):
            block = int(line[1:])
        elif words:
            names = [word for word in words if not word.isdigit() and word != "="]
            start, length, write_bit, read_bit = ([int(w) for w in words if w.isdigit()] + [-1, -1])[:4]
            yield Field(
                names[0],
                block,
                start,
                length,
                None if write_bit < 0 else write_bit,
                None if read_bit < 0 else read_bit,
                tuple(names[1:]),
            )
    for whole in blocks[1:]:
        yield Field(
            whole.name, whole.number, 0, 32 * whole.words, whole.write_bit, whole.read_bit, whole.aliases
        )


BLOCKS: Mapping[str, tuple[Block, ...]] = MappingProxyType({"esp32": ESP32_BLOCKS, "esp32c3": ESP32C3_BLOCKS})
"""The blocks by chip, in the order of their numbers."""

FIELDS: Mapping[str, tuple[Field, ...]] = MappingProxyType({
    "esp32": tuple(_fields(_ESP32, ESP32_BLOCKS)),
    "esp32c3": tuple(_fields(_ESP32C3, ESP32C3_BLOCKS)),
})  # fmt: skip
"""The fields by chip. Whole blocks are fields too."""

KEY_PURPOSES: Mapping[int, str] = MappingProxyType({
    0: "USER",
    1: "RESERVED",
    4: "XTS_AES_128_KEY",
    5: "HMAC_DOWN_ALL",
    6: "HMAC_DOWN_JTAG",
    7: "HMAC_DOWN_DIGITAL_SIGNATURE",
    8: "HMAC_UP",
    9: "SECURE_BOOT_DIGEST0",
    10: "SECURE_BOOT_DIGEST1",
    11: "SECURE_BOOT_DIGEST2",
})  # fmt: skip
"""What a key block of the ESP32-C3 is for."""


def purpose_name(code: int) -> str:
    """Return what a key purpose is called."""
    return KEY_PURPOSES.get(code, f"RESERVED_{code}")
