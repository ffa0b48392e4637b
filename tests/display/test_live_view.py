"""The live view: tables and text of what a watch has seen, and a widget that renews itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.audit.monitor import Watch
from labkit.broker.control import LOG
from labkit.clock import Deadline
from labkit.display import LiveView, Table, live_view

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = "1700000000: OpenSSL Error[0]: error:1:SSL routines::peer did not return a certificate\n"
HOSTILE = "1700000000: New client connected from 127.0.0.1:1 as <script>x</script> (p5, c1, k30, u'<script>x</script>').\n"


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Return a watch of a log that tells of six refusals and a client with a hostile name."""
    (tmp_path / LOG).write_text(6 * REFUSED + HOSTILE)
    return Watch(broker=tmp_path, from_start=True)


def test_a_view_is_text_and_tables(watch: Watch) -> None:
    """Alerts and events are there as text and as tables, and a hostile name is text in both."""
    view = LiveView(watch).show()
    assert "failed-tls" in str(view)
    assert "6 tls-refused" in str(view)
    page = view._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_widget_renews_itself(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The widget shows what comes later, until it is stopped; then its thread is gone."""
    monkeypatch.setattr(live_view, "_somebody_looks", lambda: True)
    monkeypatch.setattr(live_view, "PERIOD", 0.05)
    with LiveView(watch) as view:
        box = view.show()
        assert "latecomer" not in box.value
        with (tmp_path / LOG).open("a") as log:
            log.write(HOSTILE.replace("<script>x</script>", "latecomer"))
        deadline = Deadline(5)
        while "latecomer" not in box.value and not deadline.passed:
            deadline.pause()
        assert "latecomer" in box.value
        thread = view._thread
        assert thread is not None
    assert not thread.is_alive()
    view.stop()


def test_a_table_links_cells() -> None:
    """A cell that is the text of a link leads there on a page; names are escaped, and the text twin has no links."""
    table = Table("t", ("a", "b"), [("x", "tls"), ("y", "<b>")], links={"tls": '02_tls.ipynb"x'})
    page = table._repr_html_()
    assert '<a href="02_tls.ipynb&quot;x">tls</a>' in page
    assert "&lt;b&gt;" in page
    assert "ipynb" not in str(table)
