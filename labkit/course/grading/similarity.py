"""Who handed in much the same as somebody else: a hint for a conversation, never a verdict.

Compared are the cells that students write, their written answers, and the text files that they left, each with the
values of their own variant taken out. What was given, and what most of the class wrote, does not count.
"""

from __future__ import annotations

import io
import json
import keyword
import re
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from labkit.course.grading.feedback import page as html_page
from labkit.course.grading.feedback import said
from labkit.course.grading.results import FAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from labkit.course.exercise import Exercise
    from labkit.course.grading.intake import Notebook
    from labkit.course.grading.results import Result

THRESHOLD = 0.7
"""Share of what two have in common from which a pair is shown."""

_CODE, _TEXT, _FILES = "code", "written answers", "files"
_LENGTH = {_CODE: 6, _TEXT: 4, _FILES: 5}
_LEAST = {_CODE: 25, _TEXT: 12, _FILES: 12}
_KINDS = (".conf", ".acl", ".json", ".md", ".txt", ".csv", ".py", ".yaml", ".toml", "")
_MOST_FILE = 64 << 10
_MOST_FILES = 40
_COMMON = 6
"""From how many submissions on what more than half of them share counts for nothing."""

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two submissions that are alike.

    Attributes:
        exercise: The exercise.
        first: One student.
        second: The other.
        shared: By kind of artefact, the share that they have in common.
        foreign: Values of the other's variant in one's work.
    """

    exercise: str
    first: str
    second: str
    shared: dict[str, float]
    foreign: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    student: str
    values: dict[str, str]
    raw: str = ""
    shingles: dict[str, Shingles] = field(default_factory=dict)


def pairs(
    results: Sequence[Result],
    folders: Sequence[Path],
    exercises: Mapping[str, Exercise],
    patterns: Mapping[str, Notebook | None],
) -> list[Pair]:
    """Return the pairs that are alike, the most alike first.

    Args:
        results: The results.
        folders: Where each submission's work is kept.
        exercises: The exercises, by slug.
        patterns: What students were given, by slug.

    Does not check: who copied from whom, or whether both worked together as they were told to.
    """
    found: list[Pair] = []
    for slug, exercise in exercises.items():
        works = [
            _work(result, folder, exercise, patterns.get(slug))
            for result, folder in zip(results, folders, strict=True)
            if result.exercise == slug and result.status != FAULT
        ]
        _drop_common(works)
        found += [
            pair
            for first, second in combinations(works, 2)
            if (pair := _compared(slug, first, second)) is not None
        ]
    return sorted(found, key=lambda pair: (-len(pair.foreign), -max(pair.shared.values(), default=0.0)))


def _work(result: Result, folder: Path, exercise: Exercise, pattern: Notebook | None) -> _Work:
    given = {cell.name: cell.source for cell in pattern.cells} if pattern else {}
    # A name that everybody was given, such as `plant.operator`, tells nothing where it is somebody's value too.
    common = {word for source in given.values() for word in re.findall(r"[\w-]+", source)}
    values = {
        str(value): name
        for name, value in _flat(exercise.variant(result.student).values)
        if len(str(value)) >= (4 if isinstance(value, int) else 5)
        and not isinstance(value, bool)
        and str(value) not in common
    }
    work = _Work(result.student, values)
    cells = _cells(folder / "submitted.json")
    texts = {
        _CODE: [source for name, source in cells if source != given.get(name)],
        _TEXT: list(result.written.values()),
        _FILES: list(_files(folder)),
    }
    work.raw = "\n".join(text for kind in texts.values() for text in kind)
    known = {
        kind: frozenset(shingle for source in given.values() for shingle in _shingles(kind, source, {}))
        for kind in (_CODE, _TEXT)
    }
    for kind, of_kind in texts.items():
        made = {shingle for text in of_kind for shingle in _shingles(kind, text, values)}
        work.shingles[kind] = frozenset(made - known.get(kind, frozenset()))
    return work


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) or hasattr(values, "items"):
        for key, value in values.items():
            yield from _flat(value, name or str(key))
    elif isinstance(values, list | tuple | set | frozenset):
        for value in values:
            yield from _flat(value, name)
    else:
        yield name, values


def _cells(path: Path) -> list[tuple[str, str]]:
    try:
        return [
            (name, source)
            for kind, name, source in json.loads(path.read_text(encoding="utf-8"))
            if kind == "code"
        ]
    except (OSError, ValueError):
        return []


def _files(folder: Path) -> Iterator[str]:
    place = folder / "run" / "workspace" / "answers"
    for number, path in enumerate(sorted(place.rglob("*"))):
        if number >= _MOST_FILES:
            return
        if path.is_symlink() or not path.is_file() or path.suffix not in _KINDS:
            continue
        data = path.read_bytes()[:_MOST_FILE]
        if b"\0" not in data:
            yield data.decode(errors="replace")


def _shingles(kind: str, text: str, values: Mapping[str, str]) -> set[tuple[str, ...]]:
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "OWN")
    words = _tokens(text) if kind == _CODE else re.findall(r"\w+", text.lower())
    length = _LENGTH[kind]
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def _tokens(text: str) -> list[str]:
    """Return code without comments, layout and names of its own: renaming changes nothing."""
    words: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                words.append(token.string if keyword.iskeyword(token.string) else "name")
            elif token.type in {tokenize.NUMBER, tokenize.STRING, tokenize.OP}:
                words.append(token.string)
    except (tokenize.TokenError, SyntaxError, ValueError):
        return re.findall(r"\w+|[^\w\s]", text)
    return words


def _drop_common(works: Sequence[_Work]) -> None:
    if len(works) < _COMMON:
        return
    for kind in (_CODE, _TEXT, _FILES):
        counted = Counter(shingle for work in works for shingle in work.shingles[kind])
        common = {shingle for shingle, count in counted.items() if count > len(works) / 2}
        for work in works:
            work.shingles[kind] = frozenset(work.shingles[kind] - common)


def _compared(slug: str, first: _Work, second: _Work) -> Pair | None:
    shared: dict[str, float] = {}
    for kind in (_CODE, _TEXT, _FILES):
        one, other = first.shingles[kind], second.shingles[kind]
        if min(len(one), len(other)) >= _LEAST[kind]:
            share = len(one & other) / len(one | other)
            if share >= THRESHOLD:
                shared[kind] = share
    foreign = (*_foreign(first, second), *_foreign(second, first))
    return Pair(slug, first.student, second.student, shared, foreign) if shared or foreign else None


def _foreign(whose: _Work, other: _Work) -> tuple[str, ...]:
    """Return values of the other's variant that stand in one's work, and that are no value of their own."""
    return tuple(
        f"{whose.student}'s work holds {value!r}, {name} of {other.student}'s variant"
        for value, name in other.values.items()
        if value not in whose.values and re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", whose.raw)
    )


def page(found: Sequence[Pair]) -> str:
    """Return the pairs as a page."""
    intro = (
        "<h1>Submissions that are alike</h1><p><strong>This is a hint, not a verdict.</strong> Short answers to the same "
        "question resemble each other, and so does the work of people who were told to work together. Talk to them "
        "before you conclude anything.</p>"
    )
    if not found:
        return html_page("Submissions that are alike", f"{intro}<p>No pair is above {THRESHOLD:.0%}.</p>")
    rows = "".join(
        f'<tr><th scope="row">{said(pair.first)} and {said(pair.second)}</th><td>{said(pair.exercise)}</td>'
        f"<td>{said(', '.join(f'{kind}: {share:.0%}' for kind, share in pair.shared.items()))}</td>"
        f"<td>{'<br>'.join(said(text) for text in pair.foreign[:6])}</td></tr>"
        for pair in found[:500]
    )
    return html_page(
        "Submissions that are alike",
        f'{intro}<div class="scroll" tabindex="0" role="region" aria-label="Pairs"><table><thead><tr>'
        '<th scope="col">students</th><th scope="col">exercise</th><th scope="col">in common</th>'
        f'<th scope="col">values of the other</th></tr></thead><tbody>{rows}</tbody></table></div>',
    )
