"""The built site, shown on this machine."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from queue import Queue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from labkit.course.site import serve
from labkit.errors import SiteError

if TYPE_CHECKING:
    from pathlib import Path


def served(folder: Path) -> str:
    """Serve a folder for as long as the tests run; return where."""
    urls: Queue[str] = Queue()
    threading.Thread(target=serve, args=(folder,), kwargs={"on_ready": urls.put}, daemon=True).start()
    return urls.get(timeout=10)


def test_pages_are_served_to_this_machine(tmp_path: Path) -> None:
    """The server listens on 127.0.0.1 at a port of its own, and gives out what was built."""
    (tmp_path / "index.html").write_text("<title>here</title>", encoding="utf-8")
    url = served(tmp_path)
    assert urlsplit(url).hostname == "127.0.0.1"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
        assert b"<title>here</title>" == answer.read()
        assert answer.headers["Cache-Control"] == "no-cache"


def test_what_is_named_by_its_content_is_asked_for_once(tmp_path: Path) -> None:
    """A file that is asked for with its checksum may be kept by the browser; one that is not there may not."""
    (tmp_path / "index.html").write_text("", encoding="utf-8")
    (tmp_path / "site.css").write_text("p {}", encoding="utf-8")
    url = served(tmp_path)
    with urllib.request.urlopen(f"{url}site.css?v=5ac755e4", timeout=10) as answer:  # noqa: S310 - our own
        assert "immutable" in answer.headers["Cache-Control"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}other.css?v=5ac755e4", timeout=10)  # noqa: S310 - our own
    with caught.value as answer:
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
