"""Outcomes side by side: what the client saw, what the broker wrote, what openssl says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.display.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.outcome import Outcome


_OTHERS = (("board", "the board said"), ("found", "what was found"))
"""More witnesses, by the name that their words have in the detail."""


def witnesses(outcome: Outcome) -> list[tuple[str, str]]:
    """Return who says what about an attempt, in words."""
    detail = outcome.detail
    rows = [("verdict", str(outcome))]
    if detail.get("diagnosis"):
        rows.append(("because", str(detail["diagnosis"])))
    if detail.get("attempt"):
        rows.append(("tried", str(detail["attempt"])))
    if detail.get("rule"):
        rows.append(("decided by", str(detail["rule"])))
    if detail.get("how"):
        rows.append(("how we know", str(detail["how"])))
    if client := _client(outcome):
        rows.append(("the client saw", client))
    rows += [(label, str(detail[key])) for key, label in _OTHERS if detail.get(key)]
    if lines := detail.get("broker_log"):
        rows.append(("the broker wrote", "\n".join(lines)))
    if detail.get("openssl"):
        rows.append(("openssl verify", str(detail["openssl"])))
    return rows


def _client(outcome: Outcome) -> str:
    detail = outcome.detail
    if detail.get("received"):
        return f"the observer received {detail['received']!r} on {detail['topic']}"
    if detail.get("alert"):
        return f"alert {detail['alert']}"
    if detail.get("client_error"):
        return str(detail["client_error"])
    if "reason_code" in detail:
        return f"reason code {detail['reason_code']} (0x{detail['reason_code']:02x})"
    return ""


def outcome_table(outcomes: Mapping[str, Outcome], title: str = "What became of each attempt") -> Table:
    """Return several outcomes in one table.

    Args:
        outcomes: The outcomes by name.
        title: What the table shows.
    """
    rows = [
        (name, str(outcome), _client(outcome), outcome.detail.get("openssl", ""))
        for name, outcome in outcomes.items()
    ]
    return Table(title, ("who", "verdict", "the client saw", "openssl verify"), rows)
