"""The log of a key ceremony: who was there, what the root's key was used for, and a chain that shows tampering.

Each line carries the hash of the line before it. Whoever changes a line must change all that follow, and the last hash
is on the paper that everybody took home.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the log.

    Attributes:
        at: When.
        action: What was done, in a few words.
        present: Who was there; at least two, because one person alone is no witness.
        facts: What it was done to: fingerprints, serial numbers. Never a secret.
        before: SHA-256 of the line before, in hexadecimal.
    """

    at: dt.datetime
    action: str
    present: tuple[str, ...]
    facts: Mapping[str, str]
    before: str

    def line(self) -> str:
        """Return the line as it is written."""
        value = {
            "at": self.at.isoformat(timespec="seconds"),
            "action": self.action,
            "present": list(self.present),
            "facts": dict(self.facts),
            "before": self.before,
        }
        return json.dumps(value, sort_keys=True) + "\n"


def record(
    log: str,
    action: str,
    *,
    present: Sequence[str],
    now: dt.datetime,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Return a log with one line more.

    Args:
        log: The log so far; empty at the beginning.
        action: What was done.
        present: Who was there.
        now: The time.
        facts: What it was done to.

    Raises:
        FormatError: The log has been tampered with.
        ValueError: Fewer than two people were there, or the step came before the last one.
    """
    steps = verify_log(log)
    if len(set(present)) < 2:
        text = "a ceremony needs at least two people"
        raise ValueError(text)
    if steps and now.replace(microsecond=0) < steps[-1].at:
        text = f"the last step was at {steps[-1].at}, after {now}"
        raise ValueError(text)
    return log + Step(now, action, tuple(present), facts or {}, seal(log)).line()


def seal(log: str) -> str:
    """Return the hash of the last line: what goes on paper at the end of the day.

    Raises:
        FormatError: The log has been tampered with.
    """
    verify_log(log)
    return _hash(log.splitlines(keepends=True)[-1]) if log else _BEGINNING


def verify_log(log: str, *, seal: str | None = None) -> list[Step]:
    """Verify that each line follows from the one before, and return the steps.

    Args:
        log: The log.
        seal: What is on the paper. Without it nobody notices that the end was cut off, or that all was written anew.

    Raises:
        FormatError: A line is not what it was; `offset` is its number, counted from 1.

    Does not check: that what was written down was true when it was written.
    """
    steps, before = [], _BEGINNING
    lines = log.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        step = _step(line, number)
        if step.before != before:
            raise _tampered(number, f"line {number} does not follow from the one before it")
        steps.append(step)
        before = _hash(line)
    if seal is not None and seal != before:
        raise _tampered(len(lines), "its end is not what the paper says")
    return steps


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _step(line: str, number: int) -> Step:
    try:
        value: dict[str, Any] = json.loads(line)
        at = dt.datetime.fromisoformat(value["at"])
        step = Step(
            at, str(value["action"]), tuple(value["present"]), dict(value["facts"]), str(value["before"])
        )
        written = step.line()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _tampered(number, f"line {number} is not a step") from error
    if written != line:
        raise _tampered(number, f"line {number} is not written as we write it")
    return step


def _tampered(number: int, why: str) -> FormatError:
    return FormatError(
        f"The ceremony's log can't be relied on: {why}.",
        advice="Compare it with the copies of the others who were there.",
        what="ceremony log",
        offset=number,
    )
