"""Knock at a broker's doors: what does each of them do with everybody who might come?"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from labkit.audit.facts import Door
from labkit.audit.passwords import DEFAULTS
from labkit.broker import config as configuration
from labkit.broker.control import State
from labkit.clock import Deadline
from labkit.errors import FormatError, LabError, WorkspaceCorruptError
from labkit.mqtt import Endpoint, Identity, packets, probe
from labkit.mqtt.negotiation import offer_suites, offer_versions
from labkit.mqtt.suites import SUITES
from labkit.outcome import ACCEPTED, Outcome
from labkit.ports import is_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TIMEOUT = 5.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where it listens, not where we do


def find_doors(known: Sequence[Endpoint], folder: Path | None) -> list[Endpoint]:
    """Return where a broker listens: what is known, what its configuration says, and what its process really does.

    Args:
        known: Endpoints that are known.
        folder: The broker's folder, if there is one.
    """
    found = {(each.host, each.port): each for each in known}
    if folder is not None:
        for host, port in [*_configured(folder), *_listening(folder)]:
            found.setdefault((host, port), Endpoint(host, port))
    return list(found.values())


def _configured(folder: Path) -> Iterator[tuple[str, int]]:
    with suppress(LabError, OSError, ValueError):
        for listener in configuration.parse(
            (folder / "mosquitto.conf").read_text(encoding="utf-8")
        ).listeners:
            yield ANYWHERE.get(listener.host, listener.host), listener.port


def _listening(folder: Path) -> Iterator[tuple[str, int]]:
    with suppress(psutil.Error, WorkspaceCorruptError, OSError):
        state = State.read(folder)
        if state is None:
            return
        for each in psutil.Process(state.pid).net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN:
                yield ANYWHERE.get(each.laddr.ip, each.laddr.ip), each.laddr.port


def knock(
    endpoint: Endpoint,
    *,
    trust: Path | None,
    device: Identity | None,
    strangers: Mapping[str, Identity],
    revoked: Identity | None,
) -> Door:
    """Try a door in every way that matters.

    Args:
        endpoint: The door.
        trust: The root that clients believe; without it only what needs no trust is tried.
        device: A device that must be let in.
        strangers: Identities that must be refused, by what they are.
        revoked: A device that was taken out of service.

    Does not check: whether it is ours to knock at; `verify_ours` does.
    """
    place = f"{endpoint.host}:{endpoint.port}"
    plain = plain_connect(endpoint)
    if plain is not None:
        return Door(place, plain, tls=False, logins=_sprayed(lambda u, p: plain_connect(endpoint, u, p)))
    if not speaks_tls(endpoint):
        return Door(place, None, tls=False, silent=not is_listening(endpoint.port, endpoint.host))

    def tried(identity: Identity | None, **more: Any) -> Outcome | None:
        return probe(endpoint, trust=trust, identity=identity, **more) if trust else None

    nobody = tried(None)
    asks = nobody is not None and nobody.stage == "tls"
    return Door(
        place,
        None,
        tls=True,
        nobody=nobody,
        strangers={who: outcome for who, each in strangers.items() if (outcome := tried(each))},
        device=tried(device) if device else None,
        revoked=tried(revoked) if revoked else None,
        # Where no certificate is needed, a password may do.
        logins=() if asks else _sprayed(lambda u, p: tried(None, username=u, password=p)),
    )


def agreed(endpoint: Endpoint) -> tuple[tuple[str, str, str, str], ...]:
    """Offer a TLS door each version, each weak suite and some good ones, and return the rows of the answers.

    Raises:
        ToolMissingError: There is no openssl.
    """
    weak = [suite for suite in SUITES.values() if suite.faults]
    strong = [suite for suite in SUITES.values() if not suite.faults]
    offers = [*offer_versions(endpoint), *offer_suites(endpoint, [*weak, *strong[:6]])]
    return tuple(offer.row() for offer in offers)


def _sprayed(attempt: Any) -> tuple[tuple[str, str], ...]:
    """Try a public list. Where a name that nobody can know opens too, the door is open to all, which is another fault."""
    nonsense = attempt(f"nobody-{secrets.token_hex(4)}", secrets.token_hex(8))
    if nonsense is None or nonsense.accepted:
        return ()
    opened = []
    for user, password in DEFAULTS:
        outcome = attempt(user, password)
        if outcome is not None and outcome.accepted:
            opened.append((user, password))
    return tuple(opened[:3])


def plain_connect(
    endpoint: Endpoint, username: str | None = None, password: str | None = None, *, timeout: float = TIMEOUT
) -> Outcome | None:
    """Say CONNECT without TLS, and return what came of it; None where the answer was no MQTT."""
    hello = packets.connect(protocol=packets.V311, username=username, password=password)
    detail = {"tls_version": "none"}
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=timeout) as connection:
            connection.sendall(hello)
            answer = _answer(connection, timeout)
            if answer is None:
                return None
            connection.sendall(packets.disconnect())
    except (OSError, FormatError):
        return None
    if answer.code:
        reason = packets.reason_of(answer.code, packets.V311)
        return Outcome("mqtt", accepted=False, reason=reason, detail=detail)
    return Outcome("mqtt", accepted=True, reason=ACCEPTED, detail=detail)


def _answer(connection: socket.socket, timeout: float) -> packets.Answer | None:
    deadline, received = Deadline(timeout), b""
    while not deadline.passed:
        piece = connection.recv(64)
        if not piece or (received + piece)[0] >> 4 != packets.Kind.CONNACK:
            return None
        received += piece
        packet, received = packets.split(received)
        if packet is not None:
            return packets.parse_answer(packet, protocol=packets.V311)
    return None


_ALERT = 0x15


def speaks_tls(endpoint: Endpoint, *, timeout: float = TIMEOUT) -> bool:
    """Return whether something answers a record that no TLS server can like with an alert."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=timeout) as connection:
            # A ClientHello of one byte: too short, so that every TLS server complains (RFC 8446 §6.2).
            connection.sendall(bytes.fromhex("16030100050100000100"))
            return connection.recv(1)[:1] == bytes([_ALERT])
    except OSError:
        return False
