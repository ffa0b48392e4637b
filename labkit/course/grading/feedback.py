"""What a student reads: what was asked, what was there, why it matters, what to try. Never the answer."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from labkit.course.grading.results import FAULT, GRADED
from labkit.course.judging import WORDS
from labkit.course.lesson import NOT_ATTEMPTED, PASSED
from labkit.course.report import STYLE
from labkit.course.scrub import without_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.exercise import Exercise, Rubric
    from labkit.course.grading.marks import Given, Mark
    from labkit.course.grading.results import Result, Verdict
    from labkit.course.scrub import Places

_CARD = """
.card { border: 1px solid var(--line); border-left: 6px solid var(--line); padding: .6rem 1rem; margin: 1rem 0;
  background: var(--card); overflow-wrap: anywhere; }
.card.passed { border-left-color: var(--good); } .card.failed, .card.partly { border-left-color: var(--bad); }
.card h3 { font-size: 1.05rem; margin: 0 0 .3rem; } .card dl { margin: .4rem 0 0; display: grid;
  grid-template-columns: 9rem 1fr; gap: .2rem .8rem; } dt { color: var(--soft); } dd { margin: 0; white-space: pre-wrap; }
@media (max-width: 40rem) { .card dl { grid-template-columns: 1fr; } }
blockquote { margin: .4rem 0; padding-left: .8rem; border-left: 3px solid var(--line); white-space: pre-wrap; }
"""


def page(title: str, body: str) -> str:
    """Return a page that loads nothing and runs nothing.

    Args:
        title: Its title, as text.
        body: Its body, as HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{said(title)}</title><style>{STYLE}{_CARD}</style></head><body><main>{body}</main></body></html>\n"
    )


def said(text: str, *, most: int = 4000) -> str:
    """Return a text that anybody may have written as HTML: escaped, cut, and without private keys."""
    plain = without_keys(text)
    plain = plain if len(plain) <= most else f"{plain[:most]} …"
    return html.escape(
        "".join(
            char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in plain
        )
    )


def feedback(
    result: Result, exercise: Exercise | None, mark: Mark, given: Mapping[str, Given], *, places: Places
) -> str:
    """Return a student's page for one exercise.

    Args:
        result: What the machine found.
        exercise: The exercise, or None where it can't be told which it is.
        mark: The mark.
        given: What a person gave, by rubric.
        places: Folders of this machine that don't belong on the page.
    """
    title = exercise.title if exercise else "What you handed in"
    parts = [f"<h1>{said(title)}</h1>", _head(result, mark, places)]
    if result.verdicts:
        parts.append("<h2>Checks</h2>")
        parts += [_check(verdict, places) for verdict in result.verdicts]
    if exercise and exercise.rubrics:
        parts.append("<h2>What you wrote</h2>")
        parts += [_written(rubric, result, given.get(rubric.id)) for rubric in exercise.rubrics]
    if result.run.errors:
        parts.append("<h2>Cells that ended in an error</h2><p>They cost no points by themselves.</p><ul>")
        parts += [f"<li>{said(places.without(line))}</li>" for line in result.run.errors]
        parts.append("</ul>")
    return page(f"{title}: {result.student}", "".join(parts))


def _head(result: Result, mark: Mark, places: Places) -> str:
    if result.status == FAULT:
        return '<p class="verdict bad">This could not be graded yet; the fault is not yours.</p>'
    good = mark.total >= mark.most and not mark.waiting
    words = f"{mark.total:g} of {mark.most:g} points"
    if mark.waiting:
        words += f" so far; a person still reads {', '.join(mark.waiting)}"
    lines = [f'<p class="verdict {"good" if good else "bad"}">{said(words)}</p>']
    if result.status != GRADED:
        lines.append(f'<p class="bad">{said(places.without(_sentence(result.reason)))}</p>')
    if mark.penalty:
        lines.append(f"<p>{mark.penalty:g} points were taken for {result.late_days} day(s) of lateness.</p>")
    lines += [f'<p class="soft">{said(places.without(_sentence(note)))}</p>' for note in result.notes]
    if result.receipt:
        lines.append(f'<p class="soft">Receipt {said(result.receipt)}</p>')
    lines.append(
        f'<p class="soft">Student {said(result.student)}, exercise {said(result.exercise or "unknown")}.</p>'
    )
    return "".join(lines)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _check(verdict: Verdict, places: Places) -> str:
    rows = [("result", f"{WORDS[verdict.status]}: {verdict.points:g} of {verdict.most:g} points")]
    if verdict.status != PASSED:
        rows += [("what is there", verdict.observed), ("what is asked", verdict.expected)]
        rows += [("why it matters", verdict.why), ("what to try", verdict.advice), ("a hint", verdict.hint)]
    if verdict.source == "pack":
        rows.append(("judged by", "the files that you packed"))
    if verdict.status == NOT_ATTEMPTED:
        rows = [row for row in rows if row[0] != "what is there" or row[1]]
    cells = "".join(f"<dt>{label}</dt><dd>{said(places.without(text))}</dd>" for label, text in rows if text)
    kind = verdict.status if verdict.status in WORDS else "failed"
    extra = ' <span class="soft">(a check of your instructor)</span>' if verdict.extra else ""
    return f'<section class="card {kind}"><h3>{said(verdict.check)}: {said(verdict.objective)}{extra}</h3><dl>{cells}</dl></section>'


def _written(rubric: Rubric, result: Result, given: Given | None) -> str:
    criteria = "".join(f"<li>{said(text)} ({points:g})</li>" for points, text in rubric.criteria)
    answer = result.written.get(rubric.id)
    if given is not None:
        verdict = f"{min(given.points, rubric.points):g} of {rubric.points:g} points"
        comment = f"<p>{said(given.comment)}</p>" if given.comment else ""
    else:
        verdict, comment = ("a person has still to read it" if answer else "nothing was written"), ""
    quoted = f"<blockquote>{said(answer)}</blockquote>" if answer else ""
    return (
        f'<section class="card"><h3>{said(rubric.id)}: {said(rubric.objective)}</h3><p>{verdict}</p>{comment}{quoted}'
        f"<p>What is looked for:</p><ul>{criteria}</ul></section>"
    )
