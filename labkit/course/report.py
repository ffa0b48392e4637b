"""The pages of a run: one that sums up, and one a notebook. Nothing in them comes from a network."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.course.runner import ClaimRun, LessonRun, Report

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #fff; --card: #f6f8fa;
  --good: #00664a; --bad: #a33d00; --link: #0059a3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b1; --line: #3d444d; --paper: #0d1117;
  --card: #161b22; --good: #3fb996; --bad: #ff9a5c; --link: #6cb6ff; } }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; font: 16px/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
a { color: var(--link); } .soft { color: var(--soft); }
.verdict { font-size: 1.15rem; font-weight: 600; padding: .8rem 1rem; border-left: 6px solid currentColor; background: var(--card); }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } .claims table { min-width: 44rem; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid var(--line); }
td.word, th.word { white-space: nowrap; font-weight: 600; }
ul.evidence { list-style: none; margin: 0; padding: 0; font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
"""


def write_pages(report: Report, out: Path) -> None:
    """Write `index.html` and a page for each executed notebook.

    Args:
        report: What became of the run.
        out: The folder that holds the executed notebooks.
    """
    for lesson in report.lessons:
        if lesson.notebook:
            source = out / lesson.notebook
            write_atomic(source.with_suffix(".html"), notebook_page(source, lesson.title))
    write_atomic(out / "index.html", index_page(report))


def notebook_page(path: Path, title: str) -> str:
    """Return an executed notebook as one page that loads nothing."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.mathjax_url = ""
    config.HTMLExporter.require_js_url = ""
    config.HTMLExporter.jquery_url = ""
    config.HTMLExporter.widget_renderer_url = ""
    config.HTMLExporter.exclude_input_prompt = True
    config.HTMLExporter.exclude_output_prompt = True
    body, _ = HTMLExporter(config=config, template_name="lab", language_code="en").from_filename(str(path))
    return without_remote_parts(str(body)).replace(
        f"<title>{path.stem}</title>", f"<title>{html.escape(title)}</title>"
    )


def without_remote_parts(page: str) -> str:
    """Return a page without scripts and styles that a browser would fetch."""
    page = re.sub(r'<script[^>]*\bsrc="[^"]*"[^>]*>\s*</script>', "", page)
    # The exporter's remaining scripts only start MathJax, Mermaid and widgets, from a network.
    page = re.sub(r"<script\b[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    return re.sub(r'<link[^>]*\bhref="https?:[^"]*"[^>]*>', "", page)


def index_page(report: Report) -> str:
    """Return the page that sums up a run."""
    lessons = "".join(_lesson(lesson) for lesson in report.lessons)
    versions = "".join(_row(name, version) for name, version in report.versions.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>IoT Device Security Labs: report of a run</title><style>{STYLE}</style></head><body><main>"
        "<h1>IoT Device Security Labs</h1>"
        '<p class="soft">Every claim below was tried on real components on this computer. A claim holds only if the '
        "verdict fell at the stage and for the reason that the lesson says.</p>"
        f"{_verdict(report)}{lessons}"
        '<h2>Made with</h2><div class="scroll"><table><thead><tr><th scope="col">what</th>'
        f'<th scope="col">version</th></tr></thead><tbody>{versions}</tbody></table></div>'
        "</main></body></html>\n"
    )


def _verdict(report: Report) -> str:
    claims = [claim for lesson in report.lessons for claim in lesson.claims]
    held = sum(claim.held for claim in claims)
    words = (
        f"{held} of {len(claims)} claims held, in {sum(lesson.seconds for lesson in report.lessons):.0f} s."
    )
    if report.interrupted:
        words = f"Stopped in the middle. {words}"
    skipped = [lesson.slug for lesson in report.lessons if lesson.status == "skipped"]
    if skipped:
        words += f" Skipped: {', '.join(skipped)}."
    return f'<p class="verdict {"good" if report.exit_status == 0 else "bad"}">{html.escape(words)}</p>'


def _lesson(lesson: LessonRun) -> str:
    rows = "".join(_claim(claim) for claim in lesson.claims)
    read = ""
    if lesson.notebook:
        page = html.escape(lesson.notebook.replace(".ipynb", ".html"))
        read = f' <a href="{page}">Read the executed notebook</a>, or <a href="{html.escape(lesson.notebook)}">take it</a>.'
    problem = f'<p class="bad">{html.escape(lesson.problem)}</p>' if lesson.problem else ""
    return (
        f'<h2 id="{html.escape(lesson.slug)}">{html.escape(lesson.title)}</h2>'
        f'<p class="soft">{html.escape(lesson.slug)}: {lesson.status} after {lesson.seconds:.1f} s.{read}</p>{problem}'
        '<div class="scroll claims" tabindex="0" role="region" aria-label="Claims and evidence"><table>'
        '<thead><tr><th scope="col">claim</th><th scope="col" class="word">held</th>'
        f'<th scope="col">evidence</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _claim(claim: ClaimRun) -> str:
    word = '<td class="word good">yes</td>' if claim.held else '<td class="word bad">NO</td>'
    items = "".join(f"<li>{html.escape(part)}</li>" for part in claim.evidence.split("; "))
    return f'<tr><th scope="row">{html.escape(claim.text)}</th>{word}<td><ul class="evidence">{items}</ul></td></tr>'


def _row(name: str, value: str) -> str:
    return f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
