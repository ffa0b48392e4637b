"""Where a class gets stuck: counted from grades alone, by check and by mistake. Nobody is named."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from labkit.course.grading.feedback import page as html_page
from labkit.course.grading.feedback import said
from labkit.course.grading.results import FAULT, GRADED
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PARTLY, PASSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.course.exercise import Exercise
    from labkit.course.grading.marks import Mark
    from labkit.course.grading.results import Result, Verdict

_OURS = ("check-stumbled", "judge-stopped", "judge-ended")
"""Faults that may be a check's own: somebody should look."""


def page(rows: Sequence[tuple[Result, Mark]], exercises: Mapping[str, Exercise]) -> str:
    """Return the class view as a page.

    Args:
        rows: Results and their marks.
        exercises: The exercises, by slug.
    """
    parts = ["<h1>Where the class gets stuck</h1>"]
    for slug, exercise in exercises.items():
        mine = [row for row in rows if row[0].exercise == slug and row[0].status != FAULT]
        if mine:
            parts.append(_exercise(exercise, mine))
    return html_page("Where the class gets stuck", "".join(parts))


def _exercise(exercise: Exercise, rows: Sequence[tuple[Result, Mark]]) -> str:
    percents = [mark.percent for _, mark in rows]
    stopped = sum(result.status != GRADED for result, _ in rows)
    late = sum(result.late_days > 0 for result, _ in rows)
    verdicts: dict[str, list[Verdict]] = {}
    for result, _ in rows:
        for verdict in result.verdicts:
            verdicts.setdefault(verdict.check, []).append(verdict)
    stuck = sorted(verdicts.values(), key=lambda of_one: _passed(of_one) / len(of_one))
    lines = "".join(_line(of_one) for of_one in stuck)
    return (
        f"<h2>{said(exercise.title)}</h2><p>{len(rows)} submissions; median {median(percents):.0f} %; {late} late; "
        f"{stopped} did not run to the end.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Checks"><table><thead><tr><th scope="col">check</th>'
        '<th scope="col">passed</th><th scope="col">partly</th><th scope="col">not yet</th>'
        '<th scope="col">not attempted</th><th scope="col">what went wrong, and how often</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _passed(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.status == PASSED for verdict in verdicts)


def _line(verdicts: Sequence[Verdict]) -> str:
    counted = Counter(verdict.status for verdict in verdicts)
    faults = Counter(verdict.fault for verdict in verdicts if verdict.fault)
    words = "".join(_mistake(fault, count, verdicts) for fault, count in faults.most_common(6))
    words = f"<ul>{words}</ul>" if words else ""
    if any(fault in _OURS for fault in faults):
        words += " <strong>(look at the check itself)</strong>"
    numbers = "".join(f"<td>{counted[status]}</td>" for status in (PASSED, PARTLY, FAILED, NOT_ATTEMPTED))
    first = verdicts[0]
    return (
        f'<tr><th scope="row">{said(first.check)}: {said(first.objective)}</th>{numbers}<td>{words}</td></tr>'
    )


def _mistake(fault: str, count: int, verdicts: Sequence[Verdict]) -> str:
    """Return a line on one mistake: its name, how often it was made, and what those who made it were mostly advised."""
    advice = Counter(verdict.advice for verdict in verdicts if verdict.fault == fault and verdict.advice)
    told = "".join(f": {said(words)}" for words, _ in advice.most_common(1))
    return f"<li><code>{said(fault)}</code> ({count}){told}</li>"
