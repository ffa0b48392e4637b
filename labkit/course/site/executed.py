"""Executed lessons for the pages: those of an earlier run where they are still true, fresh ones where not."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nbformat

from labkit.course import notebooks
from labkit.course.lessons import find
from labkit.course.runner import PASSED, run_lessons
from labkit.errors import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from labkit.course.notebooks import Source

SITE_RUNS = "build/site/run"
"""Where lessons are executed that no earlier run has left; a folder a lesson."""


@dataclass(frozen=True, slots=True)
class Executed:
    """A lesson that was executed.

    Attributes:
        source: Its source.
        notebook: The executed copy, outputs and all.
        claims: What it claimed, and what came of that: `claim`, `held`, `evidence`.
        seconds: How long it took.
        versions: What it was executed with.
    """

    source: Source
    notebook: Any
    claims: tuple[dict[str, Any], ...]
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its page, without an ending."""
        return self.source.path.stem


def executed_lessons(
    course: Path,
    slugs: Sequence[str] = (),
    *,
    on_event: Callable[[str, int, int, str], None] = lambda *_: None,
) -> list[Executed]:
    """Return executed lessons, in order; those that are missing or stale are executed first.

    Args:
        course: The course's folder.
        slugs: Which lessons; all without any.
        on_event: Told of the lessons that have to be executed, as by `run_lessons`.

    Raises:
        SiteError: A lesson could not be executed, or one of its claims did not hold.

    Does not check: whether labkit has changed since an earlier run. `labkit run` makes it true again.
    """
    source_folder = course / "notebooks" / "source"
    found = []
    for source in notebooks.sources(source_folder):
        if slugs and source.slug not in slugs:
            continue
        own = course / SITE_RUNS / source.slug
        kept = (_kept(source, folder) for folder in (course / "build" / "run", own))
        lesson = next(filter(None, kept), None)
        if lesson is None:
            report = run_lessons(source_folder, own, slugs=[source.slug], on_event=on_event)
            if report.interrupted:
                raise KeyboardInterrupt
            lesson = _kept(source, own)
        if lesson is None:
            raise SiteError(
                f"The lesson {source.slug} can't be shown: {report.lessons[0].problem or 'it did not pass'}.",
                advice=f"Look at it by itself: labkit run {source.slug}",
                what=source.slug,
            )
        found.append(lesson)
    return found


def _kept(source: Source, folder: Path) -> Executed | None:
    """Return a lesson as an earlier run left it, if it passed and was made from the source as it is now."""
    with suppress(OSError, ValueError, KeyError, nbformat.ValidationError):
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        entry = next((each for each in report["lessons"] if each["slug"] == source.slug), None)
        if entry is None or entry["status"] != PASSED:
            return None
        notebook = nbformat.read(folder / source.notebook_name, as_version=4)
        wanted = nbformat.reads(notebooks.solved(source), as_version=4)
        if _content(notebook) != _content(wanted):
            return None
        texts = {claim.id: claim.text for claim in find(source.slug).claims}
        claims = tuple({**claim, "text": texts[claim["claim"]]} for claim in entry["claims"])
        return Executed(source, notebook, claims, float(entry["seconds"]), dict(report["versions"]))
    return None


def _content(notebook: Any) -> list[tuple[str, str, str]]:
    return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]
