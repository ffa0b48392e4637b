"""How far somebody has come in the whole course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.course import exercises, lessons, prompts
from labkit.course.exercise import Exercise
from labkit.course.lesson import PASSED
from labkit.course.progress import Progress
from labkit.display import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.course.lesson import Lesson
    from labkit.workspace import Workspace

DONE, BEGUN = "done", "begun"


class Overview:
    """Every lesson and exercise: a table, and in a notebook one that keeps up with what is done below it.

    Args:
        workspace: Where progress is kept.
        on_record: Is given what to call when something was recorded.
        up: How the folder of the lessons is reached from the notebook.
    """

    def __init__(
        self,
        workspace: Workspace,
        on_record: Callable[[Callable[[], None]], None],
        *,
        up: str = "",
    ) -> None:
        self._workspace = workspace
        self._on_record = on_record
        self._up = up

    def __repr__(self) -> str:
        return str(self.table())

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not prompts.interactive():
            display(self.table())
            return
        import ipywidgets as widgets

        shown = widgets.HTML(self.table()._repr_html_())

        def refresh() -> None:
            shown.value = self.table()._repr_html_()

        self._on_record(refresh)
        display({**shown._repr_mimebundle_(), "text/plain": str(self)}, raw=True)

    def table(self) -> Table:
        """Return a row for each lesson and each graded exercise, and what comes next."""
        recorded = Progress(self._workspace, "").lessons()
        everything = [
            *(lessons.find(slug) for slug in lessons.slugs()),
            *(exercises.find(slug) for slug in exercises.slugs()),
        ]
        rows = [_row(lesson, recorded.get(lesson.slug, {})) for lesson in everything]
        paths = {
            lesson.slug: f"{self._up}{_path(lesson, number)}" for number, lesson in enumerate(everything)
        }
        columns = ("lesson", "minutes", "claims that held", "exercises passed", "")
        return Table("Your course so far", columns, rows, _note(everything, rows), links=paths)


def _path(lesson: Lesson, number: int) -> str:
    if isinstance(lesson, Exercise):
        return f"exercises/{lesson.slug}.ipynb"
    return f"{number:02}_{lesson.slug}.ipynb"


def _row(lesson: Lesson, recorded: dict[str, Any]) -> tuple[object, ...]:
    held = sum(bool(recorded.get("claims", {}).get(claim.id)) for claim in lesson.claims)
    passed = {check.id for check in lesson.checks if recorded.get("checks", {}).get(check.id) == PASSED}
    required = {check.id for check in lesson.checks if check.required}
    done = held == len(lesson.claims) and required <= passed
    claims = f"{held} of {len(lesson.claims)}" if lesson.claims else "-"
    state = DONE if done else BEGUN if recorded else ""
    return lesson.slug, lesson.minutes, claims, f"{len(passed)} of {len(lesson.checks)}", state


def _note(everything: list[Lesson], rows: list[tuple[object, ...]]) -> str:
    how = "A lesson is done when its claims held and its required exercises passed. Minutes are estimates"
    left = [lesson for lesson, row in zip(everything, rows, strict=True) if row[-1] != DONE]
    if not left:
        return f"{how}. All is done: congratulations!"
    return f"{how}; about {sum(lesson.minutes for lesson in left)} are left. Next: {left[0].slug}."
