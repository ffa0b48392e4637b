"""Updates over mutual TLS: what a device is offered, how far a release has gone, and the device's side of it."""

from labkit.updates.client import UpdateClient, take
from labkit.updates.depot import Depot, verify_release
from labkit.updates.operations import Operations
from labkit.updates.policy import choose, covers, place
from labkit.updates.service import prepare

__all__ = [
    "Depot",
    "Operations",
    "UpdateClient",
    "choose",
    "covers",
    "place",
    "prepare",
    "take",
    "verify_release",
]
