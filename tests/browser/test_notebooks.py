"""Every notebook in a real browser: it opens, its widgets answer, its checks speak, and nothing complains."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from labkit.course.catalogue import find_any
from tests.browser.conftest import SHOTS
from tests.browser.lab_page import SOURCES, WHOLE

if TYPE_CHECKING:
    from labkit.course import notebooks
    from tests.browser.lab_page import LabPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def touch_widget(lab: LabPage) -> None:
    """Where the notebook has a prediction, make it with the mouse, and see that it was recorded."""
    if not lab.has("lab.predict("):
        return
    cell = lab.index("lab.predict(")
    lab.run(cell)
    node = lab.node(cell)
    node.wait_for_selector("button.labkit-answer").click()
    node.wait_for_selector("text=Recorded:")


COPIES = [
    pytest.param(source, solved, id=f"{source.slug}-{'solved' if solved else 'student'}")
    for source in SOURCES
    for solved in (False, True)
    if not (solved and source.slug in WHOLE)  # test_use.py runs all of those
]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "solved"), COPIES)
def test_a_notebook_opens_and_answers(
    lab: LabPage, of_jupyter: set[str], source: notebooks.Source, *, solved: bool
) -> None:
    """The first cell shows the lab, a prediction is recorded by a click, a check speaks, axe finds nothing of ours.

    Of the student's copy a picture is kept.
    """
    lab.open(source, solved=solved)
    assert "what is there" in lab.run(lab.index("open_lab("))
    touch_widget(lab)
    check = find_any(source.slug).checks[0].id
    said = [lab.ask(f'lab.check("{check}")', at=lab.index("lab.check(")) for _ in range(2)]
    assert all(check in each and re.search(r"passed|partly|not yet|not attempted", each) for each in said)
    if not solved:  # both have the same words, tables and widgets
        with lab.opened_out():
            lab.shot(SHOTS / f"{source.slug}.jpg")
            assert lab.complaints(beyond=of_jupyter) == {}
