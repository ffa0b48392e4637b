"""Doors with passwords, and somebody who tries those that everybody knows. On loopback, against brokers of our own."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from labkit.audit.passwords import DEFAULTS
from labkit.broker import Broker, BrokerConfig, Listener
from labkit.broker.passwords import password_file
from labkit.mqtt import Endpoint, packets
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios.eavesdropping import log_in_openly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from labkit.scenarios.mutual_tls import Site
    from labkit.workspace import Workspace

AS_DELIVERED = {"admin": "admin", "camera": "kB3x-900-uLq", "pi": "raspberry", "test": "test"}
"""Users as somebody left them on the day of the installation; one of the four was changed."""


def changed() -> dict[str, str]:
    """Return the same users with a random password each, which nobody else has."""
    return {user: secrets.token_urlsafe(15) for user in AS_DELIVERED}


@contextmanager
def password_door(
    workspace: Workspace, users: Mapping[str, str], *, label: str = "door"
) -> Iterator[Endpoint]:
    """Stage a broker without TLS that asks for a password, on loopback, for the length of the block.

    Args:
        workspace: The lab's.
        users: Passwords by user.
        label: Its folder below `broker`.

    Raises:
        ToolMissingError, BrokerStartError: See `Broker.start`.
    """
    home = workspace.write(f"broker/{label}/passwords", password_file(users), secret=True).parent

    def make_config(port: int) -> BrokerConfig:
        return BrokerConfig(listeners=(Listener(port=port),), password_file=home / "passwords")

    with Broker(home, make_config) as broker:
        yield Endpoint(broker.host, broker.port)


@dataclass(frozen=True, slots=True)
class Spray:
    """What came of trying a list.

    Attributes:
        tried: How many pairs were tried.
        opened: The pairs that opened the door.
        seconds: How long it took.
        outcome: Accepted at stage `mqtt` if one did, refused as `nothing-opened` if not.
    """

    tried: int
    opened: tuple[tuple[str, str], ...]
    seconds: float
    outcome: Outcome

    @property
    def a_day(self) -> int:
        """How many one program could try on this door in a day."""
        return int(self.tried / self.seconds * 86_400) if self.seconds else 0


def spray(endpoint: Endpoint, pairs: Sequence[tuple[str, str]] = DEFAULTS) -> Spray:
    """Try user names and passwords on a door of this machine, one after the other.

    Args:
        endpoint: The door.
        pairs: What to try.

    Raises:
        ValueError: The door is not on this machine: those of others are not ours to try.
    """
    if not _is_loopback(endpoint.host):
        text = f"passwords are tried on this machine only, not on {endpoint.host}"
        raise ValueError(text)
    started, opened, answers = time.perf_counter(), [], set()
    for user, password in pairs:
        code = log_in_openly(endpoint, username=user, password=password)
        if code == 0:
            opened.append((user, password))
        else:
            answers.add(packets.reason_of(code, packets.V5))
    seconds = time.perf_counter() - started
    detail = {
        "attempt": f"{len(pairs)} pairs, of which {len(opened)} opened the door",
        "client_error": f"the others were answered: {', '.join(sorted(answers))}" if answers else "",
    }
    reason = ACCEPTED if opened else "nothing-opened"
    outcome = Outcome("mqtt", accepted=bool(opened), reason=reason, detail=detail)
    return Spray(len(pairs), tuple(opened), seconds, outcome)


def spray_on_mutual_tls(site: Site, pairs: Sequence[tuple[str, str]] = DEFAULTS) -> Outcome:
    """Try the same names where the broker asks for a certificate, and return what became of the best attempt.

    Args:
        site: The broker.
        pairs: What to try.

    Returns:
        The first attempt that was accepted, or else the last one that was refused.
    """
    outcome = Outcome("tcp", accepted=False, reason="nothing-tried")
    for user, _ in pairs:
        outcome = site.attempt(None, username=user)
        if outcome.accepted:
            break
    return outcome.with_detail(attempt=f"{len(pairs)} pairs, without a certificate")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
