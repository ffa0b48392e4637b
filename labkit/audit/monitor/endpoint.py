"""The numbers for Prometheus on loopback: one path, and nothing else."""

from __future__ import annotations

import http.server
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from labkit.errors import PortTakenError
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT = 5.0


class MetricsEndpoint:
    """Serves `/metrics` on 127.0.0.1 for the length of a `with` block.

    Args:
        metrics: Returns the text.
        port: The port; 0 takes a free one.

    Raises:
        PortTakenError: Another program listens there.

    Does not check: who asks. The numbers tell names of devices; keep the port on this machine.
    """

    def __init__(self, metrics: Callable[[], str], *, port: int = 0) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = TIMEOUT
            server_version, sys_version = "labkit", ""

            def do_GET(self) -> None:  # the name that http.server calls
                known = self.path == "/metrics"
                body = (metrics() if known else "the numbers are at /metrics\n").encode()
                self.send_response(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: Prometheus asks every few seconds."""

        try:
            self._server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise PortTakenError(
                f"Can't listen on {LOOPBACK}, port {port}: {error.strerror}.",
                advice="Choose another port; 0 takes a free one.",
                port=port,
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where the numbers are."""
        return f"http://{LOOPBACK}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
