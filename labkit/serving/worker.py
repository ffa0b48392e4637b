"""One worker process of a service: `python -m labkit.serving.worker`, started by `RunningService` and by nobody else.

Its settings come as one line of JSON on standard input, which stays open: when it ends, whoever started us has gone,
and so do we.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import socket
import ssl
import sys
import threading
from typing import Any

import uvicorn

from labkit.errors import LabError
from labkit.serving.peer import LOOP, Connection, keep_the_door

READY = "ready"
KEEP_ALIVE_SECONDS = 5
FILES = 8192
"""Open files that a worker asks for."""

CONNECTIONS = 1000
"""Connections of one worker; more are told 503 at once."""


def server_context(certificate: str, key: str, client_authorities: list[str]) -> ssl.SSLContext:
    """Return the TLS settings of a service: TLS 1.2 at least, a client certificate if the client has one.

    Args:
        certificate: The chain to present, leaf first.
        key: The leaf's key.
        client_authorities: Files with the authorities that clients' certificates must come from.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(certificate, key)
    for path in client_authorities:
        context.load_verify_locations(path)
    # Optional, because a device on its first day has none; a certificate that does not verify ends the handshake.
    context.verify_mode = ssl.CERT_OPTIONAL
    # No tickets: a session that is resumed presents a certificate that nobody has looked at again. Python has no switch
    # for TLS 1.2's session ids, so that those who decide look at dates and revocation themselves, each time.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def main() -> int:
    """Serve until standard input ends or a signal comes."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _allow_files()
    listening = socket.socket(fileno=settings["socket"]) if "socket" in settings else _listen(settings)
    module, _, name = settings["application"].partition(":")
    try:
        application = getattr(importlib.import_module(module), name)(settings["options"])
    except LabError as error:
        print(json.dumps({"error": error.message, "advice": error.advice}), flush=True)  # noqa: T201 - to our parent
        return 1
    keep_the_door(getattr(application, "unlimited", lambda _: False))
    config = uvicorn.Config(
        application,
        http=Connection,
        loop=LOOP,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # or anybody could write an address into X-Forwarded-For
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
        limit_concurrency=CONNECTIONS,
        ssl_context_factory=lambda *_: server_context(
            settings["certificate"], settings["key"], settings["client_authorities"]
        ),
    )
    server = _Server(config)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listening])
    return 0


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(READY, flush=True)  # noqa: T201 - to our parent


def _end_with_parent(server: uvicorn.Server) -> None:
    # read(), not a loop over lines: the pipe has an end, and that is all it will ever tell.
    os.read(sys.stdin.fileno(), 1)
    server.should_exit = True


def _allow_files() -> None:
    # Often 1,024 are allowed, of which each connection takes one.
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limits on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _listen(settings: dict[str, Any]) -> socket.socket:
    # Where a socket can't be handed down, there is one worker, and it listens itself.
    return socket.create_server((settings["host"], settings["port"]))


if __name__ == "__main__":
    sys.exit(main())
