"""What the checks of lessons share: they read what a reader laid on the shelf, ask it, and say what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.answers import Answer
from labkit.course.lab import running_broker
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PASSED, CheckResult
from labkit.pki import Store
from labkit.scenarios import Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.course.lab import Lab

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Case:
    """One question to a function that was handed in.

    Attributes:
        about: What is asked, in a few words.
        args: The arguments: JSON's values, and bytes.
        wanted: What it must return; lists and tuples are one.
        fault: The mistake that somebody made who returns something else.
        raises: The exception that it must raise instead, if any.
    """

    about: str
    args: tuple[Any, ...]
    wanted: Any
    fault: str
    raises: str = ""


def failed(fault: str, observed: str, *, expected: str, advice: str) -> CheckResult:
    """Return that an answer is wrong, with the name of the mistake."""
    return CheckResult(FAILED, observed=observed, expected=expected, advice=advice, fault=fault)


def not_attempted(what_to_do: str) -> CheckResult:
    """Return that there is no answer yet."""
    return CheckResult(NOT_ATTEMPTED, expected=what_to_do)


def site_of(lab: Lab, *, where: str, again: str) -> Site | CheckResult:
    """Return the lesson's broker with its clients, or what is wrong where it is not there.

    That it lets somebody in who was refused before says nothing: a broker that asks nobody would, too. So the lab's own
    device must get in, and somebody without a certificate must be refused for that.

    Args:
        lab: The lab.
        where: Where the notebook starts the broker, for the expectation.
        again: What to do to have it run again.
    """
    running = running_broker(lab)
    if running is None:
        return failed("no-broker", "no broker is running in this lab", expected=where, advice=again)
    site = Site(Store(lab.workspace), running)
    control, nobody = site.attempt(site.identity("sensor-001")), site.attempt(None)
    if control.accepted and nobody.reason == "no-certificate":
        return site
    return failed(
        "other-broker",
        f"sensor-001: {control}; nobody: {nobody}",
        expected="the lesson's broker, which lets the device in and asks everybody for a certificate",
        advice="lab.reset(), then run the cells from the top",
    )


def laid(lab: Lab, name: str) -> Any:
    """Return what lies on a lesson's shelf as JSON, below `answers/`.

    Raises:
        FileNotFoundError: Nothing lies there.
        WorkspaceCorruptError: It is no JSON.
    """
    return lab.workspace.read_json(f"answers/{lab.lesson.slug}/{name}")


def handed_in(lab: Lab, name: str) -> Answer | None:
    """Return a function that was handed in to a lesson, or None where none was or it is still the stub."""
    try:
        text = lab.workspace.path("answers", lab.lesson.slug, f"{name}.py").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    answer = Answer(text, name)
    return answer if answer.written else None


def questioned(
    lab: Lab, name: str, cases: Sequence[Case], *, expected: str, looks: Mapping[str, str], passed: str
) -> CheckResult:
    """Put all cases to a function that was handed in, in a process of its own, and judge it by its first mistake.

    Args:
        lab: The lab.
        name: The function's name.
        cases: The questions, the simplest first.
        expected: What is asked of the function, in a sentence.
        looks: Where to look, by fault; never the answer.
        passed: What to say when every reply is right.
    """
    answer = handed_in(lab, name)
    if answer is None:
        return not_attempted(f"complete {name}(), then run the cell below it")
    refusals = {case.raises for case in cases}
    for case, reply in zip(cases, answer.ask([case.args for case in cases]), strict=True):
        if case.raises:
            right = case.raises in reply.kinds
        else:
            right = not reply.error and same(reply.value, case.wanted)
        if not right:
            crashed = bool(reply.error) and refusals.isdisjoint(reply.kinds) and not case.raises
            fault = "crashed" if crashed else case.fault
            did = f"raised {reply.error}" if reply.error else f"returned {reply.value!r}"
            look = looks.get(fault, f"call {name}() with it yourself, and read the last line of the error")
            return failed(fault, f"{case.about}: {name}() {did}"[:_SHOWN], expected=expected, advice=look)
    return CheckResult(PASSED, observed=passed)


def same(value: Any, wanted: Any) -> bool:
    """Return whether two plain values are the same, kinds included: True is not 1. Lists and tuples are one."""
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(same(one, other) for one, other in zip(value, wanted, strict=True))
        )
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(same(value[key], wanted[key]) for key in wanted)
        )
    return type(value) is type(wanted) and bool(value == wanted)
