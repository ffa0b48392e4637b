"""A lesson as data: what it claims, asks, predicts and checks. The text is in the notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.outcome import ACCEPTED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that an experiment proves or refutes.

    Attributes:
        id: Its name in the notebook.
        text: The sentence.
        stage: The stage at which the verdict must fall.
        reason: The reason that the outcome must have.
        prediction: The prediction that it answers, if there is one.
    """

    id: str
    text: str
    stage: str
    reason: str = ACCEPTED
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A question that the reader answers before an experiment.

    Attributes:
        id: Its name in the notebook.
        question: What to predict.
        options: The answers, by a short key.
        answer: The key of the right one.
        feedback: What to say to each of the others, by key.
    """

    id: str
    question: str
    options: Mapping[str, str]
    answer: str
    feedback: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A question after the fact.

    Attributes:
        text: The question.
        options: Text, whether it is right, and what to say to who chose it.
    """

    text: str
    options: tuple[tuple[str, bool, str], ...]


PASSED, PARTLY, FAILED, NOT_ATTEMPTED = "passed", "partly", "failed", "not-attempted"
"""What a check can say."""

KINDS = ("fill-in", "tweak", "bug-hunt", "break-it", "defend-it")
"""The kinds of exercises: complete it, change it, find what is wrong, attack it, and make it hold."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        status: `passed`, `partly`, `failed` or `not-attempted`.
        observed: What is there.
        expected: What is asked for.
        advice: What to try; never the answer.
        fault: A short name of the mistake, the same for everybody who makes it: what a class stumbles over is
            counted by it.
        share: How much of the points it earns, from 0 to 1. It follows from the status unless that is `partly`.
    """

    status: str
    observed: str = ""
    expected: str = ""
    advice: str = ""
    fault: str = ""
    share: float = -1.0

    def __post_init__(self) -> None:
        """Settle the share.

        Raises:
            ValueError: The status is none of the four, or a share does not fit it.
        """
        settled = {PASSED: 1.0, FAILED: 0.0, NOT_ATTEMPTED: 0.0}.get(self.status, self.share)
        if self.status not in {PASSED, PARTLY, FAILED, NOT_ATTEMPTED} or not 0.0 <= settled <= 1.0:
            text = f"no result: {self.status!r} with a share of {self.share}"
            raise ValueError(text)
        object.__setattr__(self, "share", settled)


class RejectedError(Exception):
    """Ends a check with what was found, from wherever it was found; `judging.attempt` makes the result of it.

    Args:
        fault: See `CheckResult`; so are the others.
        observed: What is there.
        expected: What is asked for.
        advice: What to try.
        share: How much of the points it earns all the same.
    """

    def __init__(
        self, fault: str, observed: str, *, advice: str, expected: str = "", share: float = 0.0
    ) -> None:
        super().__init__(fault)
        status = PARTLY if share else FAILED
        self.result = CheckResult(status, observed, expected, advice, fault, share)


@dataclass(frozen=True, slots=True)
class Check:
    """An exercise that a machine can judge, by files and live endpoints alone.

    Attributes:
        id: Its name in the notebook.
        objective: What is checked, in a sentence.
        hints: Three, each more helpful than the one before; none is the answer.
        run: Looks and judges. It is given the lab of a lesson, or the `Work` of a graded exercise.
        points: What it is worth.
        why: Why it matters, in a sentence; shown when it did not pass.
        kind: What the reader does: one of `KINDS`.
        required: Whether the lesson's core path asks for it.
        minutes: How long it takes, estimated.
    """

    id: str
    objective: str
    hints: tuple[str, str, str]
    run: Callable[[Any], CheckResult]
    points: float = 1
    why: str = ""
    kind: str = "fill-in"
    required: bool = True
    minutes: int = 5


@dataclass(frozen=True, slots=True)
class Lesson:
    """Everything of a lesson that is not text.

    Attributes:
        slug: Its name in links, commands and folders.
        title: Its title.
        minutes: How long the core path takes, estimated.
        claims: What it proves, in order.
        predictions: What it asks beforehand.
        checks: Its exercises.
        quizzes: Its questions, by name.
        needs_broker: Whether it can't run without Mosquitto.
        prepare: Builds what earlier lessons would have left. It may be called again.
    """

    slug: str
    title: str
    minutes: int
    claims: tuple[Claim, ...]
    predictions: tuple[Prediction, ...] = ()
    checks: tuple[Check, ...] = ()
    quizzes: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    needs_broker: bool = True
    prepare: Callable[[Any], None] = lambda _: None


def judge(claim: Claim, outcome: Outcome) -> tuple[bool, str]:
    """Return whether an outcome proves a claim, and in words why not.

    Stage and reason must both be right: refused for another reason is not what was claimed.
    """
    wanted = f"{claim.reason} at {claim.stage}"
    if (outcome.stage, outcome.reason) == (claim.stage, claim.reason):
        return True, f"as claimed: {wanted}"
    return False, f"claimed: {wanted}; observed: {outcome.reason} at {outcome.stage}"


def evidence(outcome: Outcome) -> str:
    """Return the shortest honest summary of an outcome for a report."""
    detail = outcome.detail
    parts = [str(outcome)]
    if detail.get("alert"):
        parts.append(f"alert {detail['alert']}")
    if detail.get("attempt"):
        parts.append(str(detail["attempt"]))
    if detail.get("how"):
        parts.append(str(detail["how"]))
    if detail.get("received"):
        parts.append("the observer received it")
    parts += [
        f"{word}: {detail[word]}".replace("\n", ", ") for word in ("board", "found") if detail.get(word)
    ]
    lines = [
        line for line in detail.get("broker_log", ()) if not line.startswith(("New connection", "Sending"))
    ]
    if lines:
        parts.append(f"broker: {lines[0]}")
    if detail.get("openssl"):
        parts.append(f"openssl verify: {detail['openssl']}")
    return "; ".join(parts)
