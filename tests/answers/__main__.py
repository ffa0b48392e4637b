"""Try every answer of every table, and write the totals into docs/grading.md: python -m tests.answers."""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from labkit.course import exercises, lessons
from labkit.course.catalogue import find_any
from labkit.workspace import write_atomic
from tests.answers.shape import Answers, Right, judged_rightly, tried

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "grading.md"


def main() -> int:
    """Try them all; return 1 where one verdict is wrong."""
    rows, wrong = [], []
    for slug in (*lessons.slugs(), *exercises.slugs()):
        name = slug.replace("-", "_")
        if not (HERE / f"{name}.py").exists():
            continue
        started = time.monotonic()
        module = importlib.import_module(f"tests.answers.{name}")
        totals, problems = totals_of(module.TABLE, module)
        wrong += problems
        checks = find_any(slug).checks
        rows.append((slug, len(checks), totals, sum(check.points for check in checks)))
        print(f"{slug}: {dict(totals)}, {time.monotonic() - started:.1f} s", flush=True)
    write_atomic(PAGE, page(rows))
    print("\n".join(wrong) or f"No verdict is wrong. Written: {PAGE.name}")
    return 1 if wrong else 0


def totals_of(table: tuple[Answers, ...], module: object) -> tuple[Counter[str], list[str]]:
    """Return how many answers of a table got which verdict, and what is wrong with any."""
    totals: Counter[str] = Counter()
    problems = []
    with tempfile.TemporaryDirectory() as folder, module.prepared(Path(folder)) as subject:  # type: ignore[attr-defined]
        for answers in table:
            for answer in (*answers.right, *answers.wrong):
                problem = judged_rightly(answer, tried(answers, answer, subject))
                kind = "right" if isinstance(answer, Right) else "wrong"
                totals[kind] += 1
                totals["faults"] += len(getattr(answer, "fault", "")) > 0
                if "was accepted" in problem:
                    totals["false accepts"] += 1
                elif "was rejected" in problem:
                    totals["false rejects"] += 1
                elif problem:
                    totals["other reason"] += 1
                if problem:
                    problems.append(f"{answers.check}, {answer.name}: {problem}")
    return totals, problems


def page(rows: list[tuple[str, int, Counter[str], float]]) -> str:
    """Return the page."""
    lines = [
        "# How good the checks are",
        "",
        "Written by `python -m tests.answers`: every answer of the tables in `tests/answers/` is put into a workspace and",
        "judged as the grader judges it.",
        "A *false accept* is a wrong answer that earns all points, a *false reject* a right one that does not.",
        "*Other reason* counts wrong answers that were rejected, but told something else than what is wrong with them.",
        "",
        "| lesson or exercise | checks | right answers | wrong answers | false accepts | false rejects | other reason |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    columns = ("right", "wrong", "false accepts", "false rejects", "other reason")
    lines += [
        f"| {slug} | {checks} | {' | '.join(str(totals[column]) for column in columns)} |"
        for slug, checks, totals, _ in rows
    ]
    together: Counter[str] = sum((totals for _, _, totals, _ in rows), Counter())
    lines += [
        f"| **together** | {sum(row[1] for row in rows)} | {' | '.join(str(together[c]) for c in columns)} |",
        "",
        "The tables are tried in every test run too (`tests/course/test_answers.py`).",
    ]
    lines += exercise_tables()
    return "\n".join(lines) + "\n"


def exercise_tables() -> list[str]:
    """Return what each graded exercise asks for: points, kinds and minutes."""
    lines: list[str] = []
    for slug in exercises.slugs():
        exercise = exercises.find(slug)
        lines += [
            "",
            f"## {slug}: {exercise.points:g} points, about {exercise.minutes} minutes (an estimate)",
            "",
            "| id | what is asked | judged by | points | minutes |",
            "| --- | --- | --- | ---: | ---: |",
        ]
        lines += [
            f"| {c.id} | {c.objective} | a machine | {c.points:g} | {c.minutes} |" for c in exercise.checks
        ]
        lines += [
            f"| {r.id} | {r.objective} | a person | {r.points:g} | {r.minutes} |" for r in exercise.rubrics
        ]
        for rubric in exercise.rubrics:
            lines += ["", f"### {rubric.id}: what a person looks for", ""]
            lines += [f"- {points:g}: {words}" for points, words in rubric.criteria]
            lines += [
                "",
                "*A good answer.*",
                "",
                *quoted(rubric.good),
                "",
                "*A weak one.*",
                "",
                *quoted(rubric.weak),
            ]
    return lines


def quoted(text: str) -> list[str]:
    """Return a text as a quotation."""
    return [f"> {line}".rstrip() for line in text.strip().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
