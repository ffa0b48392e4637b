"""TLS servers that note what they are told: the one that a device looks for, and impostors with one thing wrong each."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK
from labkit.pki import DEVICE, SERVER, Authority, flawed
from labkit.pki.template import common_name, organisation
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from labkit.pki import Issued

_PATIENCE = 2.0


def _ours(authority: Authority) -> Issued:
    return flawed.craft(authority, "localhost", profile=SERVER, start=SYSTEM_CLOCK.now())


def _rogue(authority: Authority) -> Issued:
    above = authority.certificate.issuer
    root = Authority.new_root(common_name(above), organisation=organisation(above))
    issued = _ours(root.new_intermediate(authority.name))
    return replace(
        issued, chain=(*issued.chain, root.certificate)
    )  # the root too, so that somebody may believe it


def _for_a_device(authority: Authority) -> Issued:
    start = SYSTEM_CLOCK.now()
    return flawed.craft(authority, "localhost", profile=DEVICE, start=start, san=["localhost"])


def _expired(authority: Authority) -> Issued:
    start = SYSTEM_CLOCK.now() - 2 * flawed.DAY
    return flawed.craft(authority, "localhost", profile=replace(SERVER, days=1), start=start)


DOORS: dict[str, Callable[[Authority], Issued]] = {
    "ours": _ours,
    "another-authority": _rogue,
    "another-name": flawed.wrong_san,
    "another-purpose": _for_a_device,
    "another-day": _expired,
}
"""Who answers: the right one, and four that are right in all but one thing."""


@dataclass(slots=True)
class Door:
    """A server on loopback.

    Attributes:
        label: Which of `DOORS`.
        port: Its port.
        chain: What it presents: its certificate and the authorities above it.
        told: What each client said after its handshake had come to an end.
    """

    label: str
    port: int
    chain: Path
    told: list[bytes] = field(default_factory=list)


@contextmanager
def tls_doors(
    authority: Authority, folder: Path, labels: Sequence[str] = tuple(DOORS)
) -> Iterator[list[Door]]:
    """Open TLS servers for the length of the block; what they were told is complete when it ends.

    Args:
        authority: Who vouches for the right one.
        folder: Where their keys are kept meanwhile.
        labels: Which of `DOORS`.
    """
    with ExitStack() as open_doors:
        yield [open_doors.enter_context(_door(authority, folder, label)) for label in labels]


@contextmanager
def _door(authority: Authority, folder: Path, label: str) -> Iterator[Door]:
    issued = DOORS[label](authority)
    chain, key = folder / f"{label}.crt", folder / f"{label}.key"
    write_atomic(chain, issued.chain_pem)
    write_atomic(key, issued.key_pem, secret=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        door, closing = Door(label, listener.getsockname()[1], chain), threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, context, door, closing), daemon=True)
        thread.start()
        try:
            yield door
        finally:
            closing.set()
            thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext, door: Door, closing: threading.Event) -> None:
    while True:
        try:
            line, _ = listener.accept()
        except TimeoutError:
            if closing.is_set():
                return  # nobody is waiting any more
            continue
        line.settimeout(_PATIENCE)
        said = b""
        with suppress(OSError), context.wrap_socket(line, server_side=True) as tls:
            with suppress(OSError):
                while piece := tls.recv(4096):
                    said += piece
            door.told.append(said)
        line.close()
