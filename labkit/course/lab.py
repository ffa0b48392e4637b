"""The lab of one lesson: what a notebook holds in its hand."""

from __future__ import annotations

import atexit
import os
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.broker import attach, replacing
from labkit.course import first_aid, prompts, solutions, state
from labkit.course.answers import hand_in
from labkit.course.catalogue import find_any, whose
from labkit.course.exercise import Exercise
from labkit.course.judging import judged, shown
from labkit.course.lesson import Lesson, evidence, judge
from labkit.course.overview import Overview
from labkit.course.progress import Progress, report_line
from labkit.display import Table
from labkit.display.outcomes import witnesses
from labkit.errors import (
    BrokerNotRunningError,
    ClaimUnknownError,
    NotConnectedError,
    NotRefusedError,
)
from labkit.outcome import Outcome
from labkit.pki import Store
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from labkit.course.exercise import Variant

T = TypeVar("T")

_open: Lab | None = None


def open_lab(
    slug: str,
    *,
    workspace: Path | str | None = None,
    lesson: Lesson | None = None,
    student: str | None = None,
) -> Lab:
    """Open the lab of a lesson or of a graded exercise.

    It takes the workspace for itself, builds what earlier lessons would have left, and shows what is there. Opening
    another one in the same kernel closes this one first.

    Args:
        slug: The lesson or exercise.
        workspace: The folder to work in; the course's own without it.
        lesson: A lesson that is not of the course, for tests.
        student: Who works here: decides what a graded exercise asks for. It is remembered.

    Raises:
        LessonUnknownError: There is no such lesson.
        WorkspaceBusyError: Another notebook or command works in the folder.
        ToolMissingError: The lesson needs a program that is not here.
    """
    global _open  # noqa: PLW0603 - one lab a kernel
    first_aid.install()
    if os.environ.get("NBGRADER_EXECUTION"):
        from labkit.course.nbgrader import adopt_execution

        adopt_execution()
    if _open is not None:
        _open.close()
    chosen = lesson or find_any(slug)
    _open = Lab(chosen, Workspace.open(workspace), student=student)
    _show(_open.status())
    return _open


class Lab:
    """What the notebook of a lesson works with. Get one from `open_lab`.

    Attributes:
        lesson: The lesson's data.
        workspace: Where everything that it makes is kept.
        record: What the reader has done.
        variant: In a graded exercise, what this student got; elsewhere None.
    """

    def __init__(self, lesson: Lesson, workspace: Workspace, *, student: str | None = None) -> None:
        self.lesson = lesson
        self.workspace = workspace
        self.record = Progress(workspace, lesson.slug)
        self._resources = ExitStack()
        self._lock = ExitStack()
        self._lock.enter_context(workspace.hold(f"lesson {lesson.slug}"))
        atexit.register(self.close)
        self.variant: Variant | None = None
        try:
            if isinstance(lesson, Exercise):
                self.variant = lesson.variant(whose(workspace, student))
            if lesson.needs_broker:
                from labkit.broker import find_mosquitto

                find_mosquitto()
            lesson.prepare(self)
            if self._start not in workspace.checkpoints():
                workspace.checkpoint(self._start)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return str(self.status())

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    @property
    def _start(self) -> str:
        return f"before-{self.lesson.slug}"

    def enter(self, resource: AbstractContextManager[T]) -> T:
        """Start something and keep it until the lab is closed, the kernel ends, or another lab is opened.

        A broker takes the place of the one that this kernel runs in the same folder: a cell may be run again.
        """
        with replacing():
            return self._resources.enter_context(resource)

    def close(self) -> None:
        """Stop everything that this lab started. Harmless when it is closed."""
        global _open  # noqa: PLW0603 - one lab a kernel
        atexit.unregister(self.close)
        if _open is self:
            _open = None
        try:
            self._resources.close()
        finally:
            self._lock.close()

    def status(self) -> Table:
        """Return what is there: tools, files, and what is running."""
        described = state.describe(self.workspace)
        rows = [(row.name, row.value) for row in described if row.name not in {"open in", "checkpoints"}]
        if first_aid.kernel_is_old():
            rows.insert(
                0, ("older than the course", "this kernel; Kernel ▸ Restart Kernel brings it up to date")
            )
        tools = [(tool.name, f"{tool.version}, {tool.where}") for tool in state.tools(fetch=False)[:3]]
        done = [name for name, held in self.record.all("claims").items() if held]
        if self.variant:
            rows.append(("whose variant", self.variant.student))
        else:
            rows.append(("claims that held", f"{len(done)} of {len(self.lesson.claims)}"))
        rows.append(("reset goes to", self._start))
        return Table(f"Lab {self.lesson.slug}: what is there", ("what", "state"), [*rows, *tools])

    def reset(self) -> Table:
        """Go back to how this lesson began: stop what runs, and remove what was made and recorded since."""
        self._resources.close()
        self.workspace.restore(self._start)
        return self.status()

    def predict(self, name: str, answer: str | None = None) -> None:
        """Ask for a prediction, and record it.

        Args:
            name: Which one.
            answer: The key of an answer, to predict without a mouse.
        """
        found = _find(self.lesson.predictions, name)

        def record(key: str) -> str:
            self.record.set("predictions", name, key)
            return f"Recorded: {found.options[key]}. Now run the experiment."

        if answer is None:
            chosen = self.record.get("predictions", name)
            by_hand = f'lab.predict("{name}", "{next(iter(found.options))}")'
            prompts.choose(found.question, found.options, chosen=chosen, on_choice=record, by_hand=by_hand)
        elif answer in found.options:
            print(record(answer))
        else:
            print(f"{answer!r} is not one of: {', '.join(found.options)}.")

    def claim(self, name: str, outcome: Outcome) -> None:
        """Hold a claim of the lesson against what really happened.

        A claim that does not hold is shown and recorded; it raises nothing, so that the rest can be seen.

        Args:
            name: Which claim.
            outcome: What happened.
        """
        found = _find(self.lesson.claims, name)
        held, why = judge(found, outcome)
        self.record.set("claims", name, held)
        report_line({"lesson": self.lesson.slug, "claim": name, "held": held, "evidence": evidence(outcome)})
        rows = [("holds" if held else "DOES NOT HOLD", why), *witnesses(outcome)]
        if found.prediction and not os.environ.get("LABKIT_REPORT"):  # nobody predicts in an unattended run
            rows.append(("you predicted", self._looked_back(found.prediction)))
        _show(Table(found.text, ("", ""), rows))

    def does_not_apply(self, name: str, why: str) -> None:
        """Say that a claim can't be tried here, and why: on another version of a program it is not so.

        Args:
            name: Which claim.
            why: What is different here, in a sentence.
        """
        found = _find(self.lesson.claims, name)
        self.record.set("claims", name, value=True)
        said = f"does not apply here: {why}"
        report_line({"lesson": self.lesson.slug, "claim": name, "held": True, "evidence": said})
        _show(Table(found.text, ("", ""), [("does not apply", why)]))

    def _looked_back(self, name: str) -> str:
        asked = _find(self.lesson.predictions, name)
        chosen = self.record.get("predictions", name)
        if chosen is None:
            return "nothing; next time say it before you look, it is worth it"
        if chosen == asked.answer:
            return f"{asked.options[chosen]}: right"
        return (
            f"{asked.options[chosen]}. {asked.feedback.get(chosen, f'It was: {asked.options[asked.answer]}')}"
        )

    def check(self, name: str) -> None:
        """Judge an exercise by its files and by live endpoints.

        Args:
            name: Which exercise.
        """
        found = _find(self.lesson.checks, name)
        if isinstance(self.lesson, Exercise) and os.environ.get("LABKIT_GRADED"):
            # What is said in this process earns nothing, and a class is graded in half the time without it.
            print(f"{name} is judged when the notebook has come to its end.")
            return
        result = judged(found, self)
        self.record.set("checks", name, result.status)
        solutions.note_attempt(self.record, name, result)
        _show(shown(found, result))

    def hand_in(self, function: Callable[..., Any]) -> None:
        """Hand in a function of a graded exercise: the cell that defines it is kept, and the judge calls it.

        Args:
            function: The function, defined with `def` in a cell of its own.

        Raises:
            NotebookError: Its text can't be found.
        """
        hand_in(self.workspace.path("answers", self.lesson.slug), function)
        print(f"Handed in: {function.__name__}().")

    def solution(self, name: str) -> None:
        """Show the solution of an exercise, once you have tried: three different attempts and all hints, or solved.

        There is none in a copy of the course that is graded.

        Args:
            name: Which exercise.
        """
        print(solutions.solution(self.record, self.lesson, _find(self.lesson.checks, name)))

    def progress(self) -> Overview:
        """Return how far you have come in the whole course. In a notebook it keeps up with what you do."""
        up = "../" if isinstance(self.lesson, Exercise) else ""
        return Overview(self.workspace, self.record.on_set, up=up)

    def hint(self, name: str) -> None:
        """Give the next hint to an exercise: three, each more helpful than the one before."""
        found = _find(self.lesson.checks, name)
        given = self.record.get("hints", name) or 0
        if given >= len(found.hints):
            print("That was the last hint. Here are all of them again:")
            print("\n".join(f"  {number}. {hint}" for number, hint in enumerate(found.hints, start=1)))
            return
        print(f"Hint {given + 1} of {len(found.hints)}: {found.hints[given]}")
        self.record.set("hints", name, given + 1)

    def quiz(self, name: str, answers: str | None = None) -> None:
        """Ask the questions of a quiz; a wrong answer is told why it is wrong.

        Args:
            name: Which quiz.
            answers: One letter a question, such as `"abca"`, to answer without a mouse.
        """
        questions = self.lesson.quizzes.get(name)
        if questions is None:
            raise _unknown(name, list(self.lesson.quizzes))
        prompts.ask_all(questions, answers=answers, by_hand=f'lab.quiz("{name}", "{"a" * len(questions)}")')

    def summary(self) -> Table:
        """Return every claim of the lesson and whether it held. One that was not run does not hold."""
        held = self.record.all("claims")
        words = {True: "held", False: "DID NOT HOLD", None: "not run"}
        rows = [(claim.text, words[held.get(claim.id)]) for claim in self.lesson.claims]
        return Table(f"{self.lesson.title}: what was claimed, and what held", ("claim", ""), rows)


@contextmanager
def refused(reason: str, *, stage: str | None = None) -> Iterator[list[Outcome]]:
    """Expect a refusal, for its reason, so that the notebook can go on.

    The block either raises an error that carries the refused outcome (such as `NotConnectedError`), or appends the
    outcome to the list that it is given::

        with refused("not-authorised") as seen:
            seen.append(site.attempt(identity, publish="devices/sensor-002/status"))

    Args:
        reason: The reason that the outcome must have.
        stage: The stage, if that matters.

    Raises:
        NotRefusedError: Nothing was refused, or for another reason.
    """
    seen: list[Outcome] = []
    try:
        yield seen
    except NotConnectedError as error:
        if isinstance(error.outcome, Outcome):
            seen.append(error.outcome)
        else:
            raise
    wrong = [o for o in seen if o.accepted or o.reason != reason or stage not in {None, o.stage}]
    if not seen or wrong:
        what = str(wrong[0]) if wrong else "nothing was refused"
        raise NotRefusedError(
            f"Expected a refusal for {reason}; {what}.",
            advice="Is the broker running, and is it the right one? lab.status() tells.",
            expected=reason,
            outcome=wrong[0] if wrong else None,
        )
    print(f"Refused, as expected: {seen[-1]}")


def ready_authority(lab: Lab) -> None:
    """Build what lesson start-here would have left: an authority. For `Lesson.prepare`."""
    Store(lab.workspace).ensure_authority()


def running_broker(lab: Lab, folder: str = "broker") -> Any:
    """Return the broker of a lab for a check, or None where none runs."""
    try:
        return attach(lab.workspace.path(folder))
    except BrokerNotRunningError:
        return None


def _find(items: Sequence[Any], name: str) -> Any:
    for item in items:
        if item.id == name:
            return item
    raise _unknown(name, [item.id for item in items])


def _unknown(name: str, known: list[str]) -> ClaimUnknownError:
    return ClaimUnknownError(
        f"This lesson has no {name!r}.", advice=f"It has: {', '.join(known)}.", claim=name, known=known
    )


def _show(table: Table) -> None:
    """Show a table at once, in a loop too; outside a notebook as text."""
    try:
        from IPython.display import display
    except ImportError:
        print(table)
    else:
        display(table)
