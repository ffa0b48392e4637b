"""labkit.course.grading.similarity: what two have in common, and what everybody has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labkit.course.grading import intake, similarity
from labkit.course.grading.judging import load_exercise
from labkit.course.grading.results import Result
from tests.course.grading.submissions import SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

EXERCISE = load_exercise("sample", str(SAMPLE))
MINE = """
def audit(lines):
    # what each line says
    found = {}
    for number, line in enumerate(lines):
        words = line.split()
        if len(words) > 3 and words[0] != "#":
            found.setdefault(words[1], []).append((number, words[2:]))
    return {name: sorted(places, key=lambda place: place[0]) for name, places in found.items()}
"""
COPY = MINE.replace("found", "result").replace("words", "parts").replace("# what each", "# copied; each")
OTHER = """
import re
PATTERN = re.compile(r"(?P<kind>[a-z]+) (?P<rest>.*)")
class Reader:
    def __init__(self, path): self.path = path
    def rows(self):
        with open(self.path) as file:
            yield from (match.groupdict() for line in file if (match := PATTERN.match(line)))
"""
GIVEN = intake.Notebook((intake.Cell("code", "from labkit.course import open_lab", "setup"),))


def kept(folder: Path, student: str, code: str, *, text: str = "") -> tuple[Result, Path]:
    """Return a result and the folder where its work is kept."""
    place = folder / student
    (place / "run/workspace/answers/sample").mkdir(parents=True)
    (place / "submitted.json").write_text(
        json.dumps([("code", "setup", GIVEN.cells[0].source), ("code", "sample.1", code)])
    )
    return Result(student, student, "sample", "graded", written={"sample.D1": text} if text else {}), place


def pairs(
    *works: tuple[Result, Path], given: intake.Notebook = GIVEN
) -> dict[tuple[str, str], similarity.Pair]:
    """Return the pairs that are alike."""
    found = similarity.pairs(
        [result for result, _ in works],
        [place for _, place in works],
        {"sample": EXERCISE},
        {"sample": given},
    )
    return {(pair.first, pair.second): pair for pair in found}


def test_a_renamed_copy_is_found_and_own_work_is_not(tmp_path: Path) -> None:
    """Other names and comments hide nothing; another solution is no copy."""
    found = pairs(kept(tmp_path, "ada", MINE), kept(tmp_path, "bob", COPY), kept(tmp_path, "eve", OTHER))
    assert [("ada", "bob")] == list(found)
    assert found["ada", "bob"].shared["code"] > 0.95


def test_values_of_anothers_variant_tell(tmp_path: Path) -> None:
    """Another's device in one's own work is told, with its name; one's own is not."""
    hers, his = (EXERCISE.variant(student).device for student in ("ada", "bob"))
    assert hers != his
    found = pairs(kept(tmp_path, "ada", f"x = {hers!r}"), kept(tmp_path, "bob", f"x = {hers!r}"))
    assert (f"bob's work holds {hers!r}, device of ada's variant",) == found["ada", "bob"].foreign


def test_a_word_that_everybody_was_given_tells_nothing(tmp_path: Path) -> None:
    """A value that stands in the exercise's own cells is in everybody's work, and points at nobody."""
    hers = EXERCISE.variant("ada").device
    works = (kept(tmp_path, "ada", f"x = {hers!r}"), kept(tmp_path, "bob", f"x = {hers!r}"))
    assert pairs(*works)["ada", "bob"].foreign
    given = intake.Notebook((intake.Cell("code", f"print({hers!r})", "setup"),))
    assert {} == pairs(*works, given=given)


def test_ones_own_values_are_no_difference(tmp_path: Path) -> None:
    """The same text with each one's own values is the same text."""
    text = "I looked at DEVICE first, since it speaks in the clear, and then I asked the broker who had been there before me."
    works = [
        kept(tmp_path, student, "", text=text.replace("DEVICE", EXERCISE.variant(student).device))
        for student in ("ada", "bob")
    ]
    assert 1.0 == pairs(*works)["ada", "bob"].shared["written answers"]


def test_what_most_of_a_class_writes_counts_for_nothing(tmp_path: Path) -> None:
    """Six who all wrote the one way to do it are no pair."""
    assert {} == pairs(*(kept(tmp_path, f"student{number}", MINE) for number in range(6)))


def test_the_page_says_that_it_is_a_hint(tmp_path: Path) -> None:
    """The page begins with what it is not, and escapes names."""
    found = pairs(kept(tmp_path, "ada", MINE), kept(tmp_path, "bob", COPY))
    text = similarity.page(list(found.values()))
    assert "a hint, not a verdict" in text
    assert "ada and bob" in text
    assert "No pair" in similarity.page([])
