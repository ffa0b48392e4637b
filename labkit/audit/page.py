"""Reports as one HTML page that loads nothing: verdicts, evidence, and how to mend what fails."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from labkit.audit.checklist import MISTAKES, SECTIONS
from labkit.audit.evidence import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.audit.evidence import Evidence
    from labkit.audit.report import Change, Judged, Report

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #fff; --card: #f6f8fa;
  --good: #00664a; --bad: #a33d00; --ask: #6b4ba1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b1; --line: #3d444d; --paper: #0d1117;
  --card: #161b22; --good: #3fb996; --bad: #ff9a5c; --ask: #b9a0ea; } }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; font: 16px/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
.soft { color: var(--soft); }
.sum { display: flex; flex-wrap: wrap; gap: .6rem; padding: 0; margin: 1rem 0; list-style: none; }
.sum li { padding: .5rem .9rem; border-left: 5px solid currentColor; background: var(--card); font-weight: 600; }
.pass { color: var(--good); } .fail { color: var(--bad); } .person { color: var(--ask); } .na { color: var(--soft); }
details { border-top: 1px solid var(--line); padding: .55rem 0; } details:last-child { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; display: grid; grid-template-columns: 9.5rem 8rem 1fr; gap: .6rem; }
summary .verdict { font-weight: 600; } summary code { color: var(--soft); }
.inner { margin: .5rem 0 .6rem; padding-left: 1rem; border-left: 3px solid var(--line); overflow-wrap: anywhere; }
ul.evidence { padding-left: 1.1rem; } ul.evidence .where { color: var(--soft); font: .85em ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .4rem .6rem;
  border-bottom: 1px solid var(--line); } th code, td:not(.long) { white-space: nowrap; } td.long { overflow-wrap: anywhere; }
.sum + h2 + ul .soft, summary code { white-space: nowrap; }
@media (max-width: 40rem) { summary { grid-template-columns: 1fr; gap: 0; } }
@media print { details { break-inside: avoid; } }
"""

_CLASSES = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.PERSON: "person",
    Verdict.NOT_APPLICABLE: "na",
}


def page(report: Report) -> str:
    """Return a report as one page; what fails is unfolded."""
    counts = "".join(
        f'<li class="{_CLASSES[verdict]}">{number} {verdict.value}</li>'
        for verdict, number in report.counts().items()
        if number
    )
    mistakes = "".join(
        f"<li>{html.escape(MISTAKES[name])}: <span class='soft'>{', '.join(each.item.id for each in found)}</span></li>"
        for name, found in report.mistakes().items()
    )
    common = f"<h2>Common mistakes that were found</h2><ul>{mistakes}</ul>" if mistakes else ""
    sections = "".join(_section(key, title, report) for key, title in SECTIONS.items())
    return _document(
        f"Audit of {report.title}",
        f"<h1>Audit of {html.escape(report.title)}</h1>"
        f'<p class="soft">{report.at:%Y-%m-%d %H:%M} UTC, {len(report.judged)} items, {report.seconds:.1f} s. '
        "Every verdict rests on the evidence below it.</p>"
        f'<ul class="sum">{counts}</ul>{common}{sections}',
    )


def _section(key: str, title: str, report: Report) -> str:
    found = [judged for judged in report.judged if judged.item.id.rpartition("-")[0] == key]
    if not found:
        return ""
    return f"<h2>{html.escape(title)}</h2>{''.join(map(_judged, found))}"


def _judged(judged: Judged) -> str:
    item = judged.item
    unfolded = " open" if judged.verdict is Verdict.FAIL else ""
    steps = "".join(f"<li>{html.escape(step)}</li>" for step in item.steps)
    mend = f"<p>{html.escape(item.remedy)}</p><ol>{steps}</ol>" if judged.verdict is Verdict.FAIL else ""
    evidence = (
        "".join(map(_evidence, judged.evidence))
        or "<li>The target has nothing that this item speaks of.</li>"
    )
    return (
        f'<details{unfolded} id="{item.id}"><summary><code>{item.id}</code>'
        f'<span class="verdict {_CLASSES[judged.verdict]}">{judged.verdict.value}</span>'
        f'<span>{html.escape(item.asks)} <span class="soft">{" ".join(item.owasp)}</span></span></summary>'
        f'<div class="inner"><ul class="evidence">{evidence}</ul>{mend}</div></details>'
    )


def _evidence(evidence: Evidence) -> str:
    kind = "pass" if evidence.holds else "fail"
    word = "holds" if evidence.holds else "fault"
    return (
        f'<li><span class="{kind}">{word}</span>: {html.escape(evidence.what)} '
        f'<span class="where">{html.escape(evidence.source)}</span></li>'
    )


def comparison_page(before: Report, after: Report, changes: Sequence[Change]) -> str:
    """Return what changed from one report to the next, as one page."""
    changed = [change for change in changes if change.kind not in {"same", "not compared"}]
    rest = len(changes) - len(changed)
    rows = "".join(
        f"<tr><th scope='row'><code>{change.item.id}</code></th>{_cell(change.before)}{_cell(change.after)}"
        f"<td>{change.kind}</td><td class='long'>{_changed(change)}</td></tr>"
        for change in changed
    )
    return _document(
        f"{after.title}, before and after",
        f"<h1>Before and after: {html.escape(after.title)}</h1>"
        f'<p class="soft">{before.at:%Y-%m-%d %H:%M}: {before.summary()}. {after.at:%Y-%m-%d %H:%M}: {after.summary()}.</p>'
        "<table><thead><tr><th scope='col'>item</th><th scope='col'>before</th><th scope='col'>after</th>"
        f"<th scope='col'></th><th scope='col'>what changed</th></tr></thead><tbody>{rows}</tbody></table>"
        f'<p class="soft">{rest} items are as they were, or were not in both audits.</p>',
    )


def _cell(verdict: Verdict | None) -> str:
    return f'<td class="{_CLASSES[verdict]}">{verdict.value}</td>' if verdict else "<td>-</td>"


def _changed(change: Change) -> str:
    gone = [f"gone: {html.escape(each.what)}" for each in change.mended]
    return "<br>".join([*gone, *(f"new: {html.escape(each.what)}" for each in change.new)])


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
