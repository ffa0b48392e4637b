"""The built site, shown on this machine."""

from __future__ import annotations

import socket
import threading
import urllib.request
from queue import Queue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from labkit.course.site import serve
from labkit.errors import SiteError

if TYPE_CHECKING:
    from pathlib import Path


def test_pages_are_served_to_this_machine(tmp_path: Path) -> None:
    """The server listens on 127.0.0.1 at a port of its own, and gives out what was built."""
    (tmp_path / "index.html").write_text("<title>here</title>", encoding="utf-8")
    urls: Queue[str] = Queue()
    threading.Thread(target=serve, args=(tmp_path,), kwargs={"on_ready": urls.put}, daemon=True).start()
    url = urls.get(timeout=10)
    assert urlsplit(url).hostname == "127.0.0.1"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
        assert b"<title>here</title>" == answer.read()
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_site_that_was_not_built_is_told(tmp_path: Path) -> None:
    """Without pages the server does not start, and says what to type."""
    with pytest.raises(SiteError, match="no site yet") as caught:
        serve(tmp_path)
    assert "labkit site build" in caught.value.advice


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """Where another program listens the server does not start, and says what to do."""
    (tmp_path / "index.html").write_text("", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SiteError, match="can't be had") as caught:
            serve(tmp_path, port=port)
    assert str(port) == caught.value.what
