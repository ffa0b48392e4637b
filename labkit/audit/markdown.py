"""Reports as Markdown: a table of verdicts, then every failure with its evidence and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.audit.checklist import MISTAKES
from labkit.audit.evidence import Evidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from labkit.audit.report import Change, Judged, Report


def markdown(report: Report) -> str:
    """Return a report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Audit of {_plain(report.title)}"
    yield ""
    yield f"{report.at:%Y-%m-%d %H:%M} UTC. {report.summary()}."
    yield ""
    yield from _table(
        ("item", "asks", "OWASP", "verdict"),
        ((j.item.id, j.item.asks, " ".join(j.item.owasp), _loud(j.verdict)) for j in report.judged),
    )
    if mistakes := report.mistakes():
        yield ""
        yield "## Common mistakes that were found"
        yield ""
        for name, found in mistakes.items():
            yield f"- {MISTAKES[name]} ({', '.join(each.item.id for each in found)})"
    for judged in report.judged:
        if judged.verdict is Verdict.FAIL:
            yield from _failure(judged)
    if others := [judged for judged in report.judged if judged.verdict in {Verdict.PASS, Verdict.PERSON}]:
        yield ""
        yield "## What the others rest on"
        for judged in others:
            yield ""
            yield f"### {judged.item.id}: {judged.verdict.value}"
            yield ""
            yield from map(_bullet, judged.evidence)


def _failure(judged: Judged) -> Iterator[str]:
    item = judged.item
    yield ""
    yield f"## {item.id} fails: {item.asks}"
    yield ""
    yield from map(_bullet, judged.faults)
    yield ""
    yield f"{item.remedy}"
    yield ""
    yield from (f"{number}. {step}" for number, step in enumerate(item.steps, start=1))


def _bullet(evidence: Evidence) -> str:
    return f"- {_plain(evidence.source)}: {_plain(evidence.what)}"


def comparison(before: Report, after: Report, changes: Sequence[Change]) -> str:
    """Return what changed from one report to the next, as Markdown."""
    lines = [
        f"# Before and after: {_plain(after.title)}",
        "",
        f"Before ({before.at:%Y-%m-%d %H:%M} UTC): {before.summary()}.",
        f"After ({after.at:%Y-%m-%d %H:%M} UTC): {after.summary()}.",
        "",
        *_table(
            ("item", "before", "after", "", "what changed"),
            (
                (
                    change.item.id,
                    change.before.value if change.before else "-",
                    change.after.value if change.after else "-",
                    change.kind,
                    "; ".join(
                        [*(f"gone: {e.what}" for e in change.mended), *(f"new: {e.what}" for e in change.new)]
                    ),
                )
                for change in changes
                if change.kind not in {"same", "not compared"} or change.mended or change.new
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_plain(cell).replace('|', '&#124;') for cell in row)} |"


def _loud(verdict: Verdict) -> str:
    return f"**{verdict.value}**" if verdict is Verdict.FAIL else verdict.value


def _plain(text: str) -> str:
    # Names of clients and topics stand in evidence: none of them may become a link, a tag or a second line.
    flat = " ".join(text.split())
    return (
        flat.replace("\\", "\\\\")
        .replace("<", "&lt;")
        .replace("[", "\\[")
        .replace("`", "\\`")
        .replace("*", "\\*")
        if not flat.startswith("**")
        else flat
    )
