"""What a device is up to: the steps of its first boot, and the states that it can start and work in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Step(StrEnum):
    """What the device does next on the way to its identity."""

    MAKE_KEY = "make-key"
    REQUEST = "request"
    SWITCH = "switch"
    ERASE_TOKEN = "erase-token"  # noqa: S105 - a step, no token
    CONNECT = "connect"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the device finds in its store.

    Attributes:
        token: There is a token.
        in_use: The slot in use holds a key and the certificate that belongs to it.
        staged: The other slot is being filled, and its key is there.
        installed: The certificate that belongs to that key is there too.
    """

    token: bool
    in_use: bool
    staged: bool
    installed: bool


def first_boot(stored: Stored) -> Step:
    """Return the next step of a device's first boot.

    The device does the step, looks at its store again and asks again. So it does not matter where the power went.
    The key is stored before anybody is asked for a certificate, because the reply may be lost; the token is erased after
    the identity is in use, and not before.
    """
    if stored.in_use:
        return Step.ERASE_TOKEN if stored.token else Step.CONNECT
    if stored.staged and stored.installed:
        return Step.SWITCH
    if not stored.token:
        return Step.STOP
    return Step.REQUEST if stored.staged else Step.MAKE_KEY


class State(StrEnum):
    """What the device is up to."""

    UNPROVISIONED = "unprovisioned"
    PROVISIONED = "provisioned"
    RENEWING = "renewing"
    UPDATING = "updating"
    ROLLED_BACK = "rolled-back"


class Event(StrEnum):
    """What happens to it."""

    ENROLLED = "enrolled"
    CONNECTED = "connected"
    TIMEOUT = "timeout"
    RENEWAL_DUE = "renewal-due"
    RENEWED = "renewed"
    RENEWAL_FAILED = "renewal-failed"
    UPDATE_STAGED = "update-staged"


class Action(StrEnum):
    """What it does then."""

    NONE = "none"
    CONNECT = "connect"
    RENEW = "renew"
    RECONNECT = "reconnect"
    RESTART = "restart"
    CONFIRM_IMAGE = "confirm-image"
    ROLL_BACK = "roll-back"
    REPORT = "report"


def at_boot(*, pending: bool, identity: bool, rolled_back: bool, renewing: bool) -> State:
    """Return the state that the device starts in.

    Args:
        pending: The bootloader runs this image for the first time (`PENDING_VERIFY`).
        identity: The slot in use holds an identity.
        rolled_back: The image that was tried last is not the one that runs.
        renewing: The other slot of the identity is being filled.
    """
    # An image on trial has nothing else to do: if it can't connect, whatever the reason, the one before has to run.
    if pending:
        return State.UPDATING
    if not identity:
        return State.UNPROVISIONED
    if rolled_back:
        return State.ROLLED_BACK
    return State.RENEWING if renewing else State.PROVISIONED


TRANSITIONS: Mapping[tuple[State, Event], tuple[State, Action]] = {
    (State.UNPROVISIONED, Event.ENROLLED): (State.PROVISIONED, Action.CONNECT),
    (State.PROVISIONED, Event.RENEWAL_DUE): (State.RENEWING, Action.RENEW),
    (State.PROVISIONED, Event.UPDATE_STAGED): (State.UPDATING, Action.RESTART),
    (State.RENEWING, Event.CONNECTED): (State.RENEWING, Action.RENEW),
    (State.RENEWING, Event.RENEWED): (State.PROVISIONED, Action.RECONNECT),
    (State.RENEWING, Event.RENEWAL_FAILED): (State.PROVISIONED, Action.NONE),
    (State.UPDATING, Event.CONNECTED): (State.PROVISIONED, Action.CONFIRM_IMAGE),
    (State.UPDATING, Event.TIMEOUT): (State.ROLLED_BACK, Action.ROLL_BACK),
    (State.ROLLED_BACK, Event.CONNECTED): (State.PROVISIONED, Action.REPORT),
}
"""Everything that changes something; whatever is not here leaves the state as it is."""


def after(state: State, event: Event) -> tuple[State, Action]:
    """Return the state after an event, and what the device does."""
    return TRANSITIONS.get((state, event), (state, Action.NONE))
