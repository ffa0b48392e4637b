"""Show the built site on this machine, and only to it."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from labkit.errors import SiteError
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_NAMED_BY_CONTENT = re.compile(r"\?(v|digest)=[0-9a-f]+$")
"""How Sphinx and the theme ask for a file: with a checksum of what is in it."""


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files; says nothing of each one."""

    protocol_version = "HTTP/1.1"  # a page asks for two dozen files, and need not connect for each

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Have the browser ask again each time, for the site may have been built anew; a checksum's file stays."""
        super().send_response(code, message)
        stays = code == HTTPStatus.OK and _NAMED_BY_CONTENT.search(self.path)
        self.send_header("Cache-Control", "max-age=31536000, immutable" if stays else "no-cache")


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
