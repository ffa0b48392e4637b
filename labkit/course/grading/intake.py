"""Read a notebook that may be anything: keep the text of its cells, and nothing else.

Outputs, attachments and foreign metadata are left behind, whatever their size. What is missing of the given cells is put
back; what is doubled or out of order stays as it was handed in, and is said.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_BYTES = 50 << 20
MOST_CELLS = 1000
MOST_TEXT = 4 << 20

_OPENED = re.compile(r"open_lab\(\s*['\"]([a-z0-9-]{1,64})['\"]")
_STUDENT = re.compile(r"open_lab\([^)]*?student\s*=\s*['\"]([^'\"\n]{1,64})['\"]")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        kind: `code` or `markdown`.
        source: Its text.
        name: The exercise or the written answer that it is, or its id.
        given: Whether it is neither.
    """

    kind: str
    source: str
    name: str = ""
    given: bool = True


@dataclass(frozen=True, slots=True)
class Notebook:
    """The cells of a notebook.

    Attributes:
        cells: All of them, in order.
        notes: What was odd about it.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    @property
    def exercise(self) -> str:
        """Return the slug that it opens, or that its cells are marked with."""
        for cell in self.cells:
            if cell.kind == "code" and (found := _OPENED.search(cell.source)):
                return found[1]
        marks = [cell.name.rpartition(".")[0] for cell in self.cells if not cell.given]
        return max(set(marks), key=marks.count) if marks else ""

    @property
    def student(self) -> str:
        """Return who it says works there."""
        for cell in self.cells:
            if cell.kind == "code" and (found := _STUDENT.search(cell.source)):
                return found[1]
        return ""

    @property
    def written(self) -> dict[str, str]:
        """Return the written answers that are more than the stub."""
        from labkit.course.notebooks import UNWRITTEN

        return {
            cell.name: cell.source.strip()
            for cell in self.cells
            if cell.kind == "markdown" and not cell.given and cell.source.strip() not in {"", UNWRITTEN}
        }


class IntakeError(ValueError):
    """It is no notebook that can be run; the text says why."""


def read(data: bytes) -> Notebook:
    """Read a notebook.

    Args:
        data: The file.

    Raises:
        IntakeError: It is empty, too large, or no notebook.
    """
    if not data.strip():
        raise IntakeError("the file is empty")
    if len(data) > MOST_BYTES:
        megabytes = len(data) >> 20
        raise IntakeError(f"the notebook has {megabytes} MB: clear its outputs, and hand it in again")
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise IntakeError("the file is damaged: it is not JSON, as a notebook is") from None
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        raise IntakeError("the file is JSON, but no notebook of format 4: it has no cells")
    if not cells:
        raise IntakeError("the notebook has no cells")
    if len(cells) > MOST_CELLS:
        raise IntakeError(f"the notebook has {len(cells)} cells, which is more than {MOST_CELLS}")
    read_cells = tuple(_cell(cell, number) for number, cell in enumerate(cells, start=1))
    if sum(len(cell.source) for cell in read_cells) > MOST_TEXT:
        raise IntakeError(f"the notebook's text is longer than {MOST_TEXT >> 20} MB")
    return Notebook(tuple(cell for cell in read_cells if cell.kind in {"code", "markdown"}))


def _cell(raw: Any, number: int) -> Cell:
    if not isinstance(raw, dict):
        raise IntakeError(f"cell {number} is damaged")
    source = raw.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise IntakeError(f"cell {number} is damaged: its source is no text")
    metadata = raw.get("metadata")
    marks = metadata if isinstance(metadata, dict) else {}
    name = marks.get("exercise") or marks.get("written")
    kind = str(raw.get("cell_type"))
    # Half of a surrogate pair is valid in JSON and can't be written as UTF-8 again.
    source = source.encode("utf-8", "replace").decode("utf-8")
    if isinstance(name, str) and name:
        return Cell(kind, source, name, given=False)
    return Cell(kind, source, str(raw.get("id", ""))[:64])


def completed(notebook: Notebook, pattern: Notebook) -> Notebook:
    """Return a notebook with the given cells that are missing put back, and with notes on what is odd.

    Args:
        notebook: What was handed in.
        pattern: The copy that students get.
    """
    names = [cell.name for cell in notebook.cells]
    wanted = [cell.name for cell in pattern.cells]
    notes = list(notebook.notes)
    gone = [cell for cell in pattern.cells if cell.name not in names]
    cells = list(notebook.cells)
    put_back = [cell for cell in gone if cell.given and cell.kind == "code"]
    # A notebook without any of our ids was made elsewhere: there is no place to put a cell back to.
    if len(gone) < len(pattern.cells):
        for cell in put_back:
            cells.insert(_place(cells, wanted, cell.name), cell)
    else:
        put_back = []
    if put_back:
        notes.append(f"{_count(put_back, 'given cell')} missing; put back for the run")
    if lost := [cell.name for cell in gone if not cell.given]:
        notes.append(f"no cell for {', '.join(lost)}")
    if doubled := sorted({name for name in names if name in wanted and names.count(name) > 1}):
        notes.append(f"cells that are there twice: {', '.join(doubled)}")
    if not _in_order([name for name in names if name in wanted], wanted):
        notes.append("its cells are not in the order in which they were given; run in the order handed in")
    return Notebook(tuple(cells), tuple(notes))


def _place(cells: Sequence[Cell], wanted: Sequence[str], name: str) -> int:
    before = wanted[: wanted.index(name)]
    places = [number for number, cell in enumerate(cells) if cell.name in before]
    return places[-1] + 1 if places else 0


def _in_order(names: Iterable[str], wanted: Sequence[str]) -> bool:
    once = list(dict.fromkeys(names))
    return once == sorted(once, key=wanted.index)


def _count(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word} is" if len(items) == 1 else f"{len(items)} {word}s are"
