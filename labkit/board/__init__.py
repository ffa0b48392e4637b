"""The virtual ESP32: a behavioural model of a board that the real tools work on. It runs no machine code."""

from labkit.board.bootloader import Boot, boot
from labkit.board.chips import CHIPS, Chip, find_chip
from labkit.board.efuse import Efuses, SecureBootDigest
from labkit.board.machine import Machine
from labkit.board.nor_flash import NorFlash, PowerCut
from labkit.board.virtual_board import VirtualBoard, running_at

__all__ = [
    "CHIPS",
    "Boot",
    "Chip",
    "Efuses",
    "Machine",
    "NorFlash",
    "PowerCut",
    "SecureBootDigest",
    "VirtualBoard",
    "boot",
    "find_chip",
    "running_at",
]
