"""Devices: who they are, the life they lead, and the registry that remembers it."""

from labkit.devices.certificates import Certificate, Status
from labkit.devices.fleet import Device
from labkit.devices.identity import DeviceIdentity, identify, mac_address, serial_number
from labkit.devices.lifecycle import IN_LIFE, MOVES, State, verify_move
from labkit.devices.registry import Registry, Transaction
from labkit.devices.releases import Releases
from labkit.devices.rollout import ROLLOUT_MOVES, Release, Rollout
from labkit.devices.tokens import Token, digest_of, is_token, new_token
from labkit.devices.trail import Event

__all__ = [
    "IN_LIFE",
    "MOVES",
    "ROLLOUT_MOVES",
    "Certificate",
    "Device",
    "DeviceIdentity",
    "Event",
    "Registry",
    "Release",
    "Releases",
    "Rollout",
    "State",
    "Status",
    "Token",
    "Transaction",
    "digest_of",
    "identify",
    "is_token",
    "mac_address",
    "new_token",
    "serial_number",
    "verify_move",
]
