"""A watch to look at: counts, the newest alerts and events, as a widget that renews itself, as a table, and as text."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

from labkit.clock import Deadline
from labkit.display.tables import Table

if TYPE_CHECKING:
    from labkit.audit.monitor import Watch

PERIOD = 1.0
"""Seconds between two looks of the widget."""


class LiveView:
    """Shows what a watch has seen. In a notebook `show` renews itself until `stop` or the end of a `with` block.

    Args:
        watch: The watch. While the widget runs, nobody else should make it look.
        limit: At most so many alerts and events.
    """

    def __init__(self, watch: Watch, *, limit: int = 8) -> None:
        self.watch = watch
        self._limit = limit
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._box: Any = None

    def tables(self) -> tuple[Table, Table]:
        """Return alerts and events."""
        alerts = [
            (f"{a.at:%H:%M:%S}", a.severity, a.detector, a.subject, a.message)
            for a in list(self.watch.alerts)[-self._limit :]
        ]
        events = [
            (f"{e.at:%H:%M:%S}", e.kind, e.who[:40], e.cause[:60])
            for e in list(self.watch.events)[-self._limit :]
        ]
        counts = ", ".join(f"{number} {kind}" for kind, number in self.watch.tally().most_common())
        return (
            Table("Alerts", ("time (UTC)", "", "detector", "about", "what was noticed"), alerts),
            Table(
                "Events",
                ("time (UTC)", "kind", "who", "what"),
                events,
                f"Seen so far: {counts or 'nothing'}.",
            ),
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Return both tables as text."""
        return "\n\n".join(map(str, self.tables()))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self) -> Any:
        """Return a widget that looks once a second; where there are no widgets, look once and return the tables."""
        self.watch.look()
        if not _somebody_looks():
            return self
        import ipywidgets as widgets

        self._box = widgets.HTML(self._repr_html_())
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()
        return self._box

    def _renew(self) -> None:
        while not self._ended.is_set():
            self.watch.look()
            self._box.value = self._repr_html_()
            Deadline(PERIOD).pause(PERIOD)

    def stop(self) -> None:
        """Stop renewing; a second time does nothing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2 * PERIOD)
            self._thread = None


def _somebody_looks() -> bool:
    """Return whether this is a notebook with somebody in front of it, and no unattended run."""
    if os.environ.get("LABKIT_REPORT") or os.environ.get("LABKIT_NO_WIDGETS"):
        return False
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")
