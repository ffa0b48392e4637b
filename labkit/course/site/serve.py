"""Show the built site on this machine, and only to it."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from labkit.errors import SiteError
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files; says nothing of each one."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""

    def end_headers(self) -> None:
        """Have the browser ask again each time: the site may have been built anew."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serve(folder: Path, *, port: int = 0, on_ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve a built site on 127.0.0.1 until Ctrl-C.

    Args:
        folder: The folder that holds `index.html`.
        port: Where to listen; a free port without one.
        on_ready: Told the address once the server listens.

    Raises:
        SiteError: There is no site in the folder, or another program listens on the port.
    """
    if not (folder / "index.html").is_file():
        raise SiteError("There is no site yet.", advice="Build it: labkit site build", what=str(folder))
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), partial(_Quiet, directory=str(folder)))
    except OSError as error:
        raise SiteError(
            f"Port {port} can't be had: {error.strerror}.",
            advice="Leave --port out for a free one.",
            what=str(port),
        ) from error
    with server:
        on_ready(f"http://{LOOPBACK}:{server.server_address[1]}/")
        server.serve_forever()
