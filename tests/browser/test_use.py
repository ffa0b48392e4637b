"""A notebook in use in a real browser: run from end to end, by mouse, by keyboard, stopped, restarted, reloaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.catalogue import find_any
from tests.browser.conftest import SHOTS
from tests.browser.lab_page import SOURCES, WHOLE

if TYPE_CHECKING:
    from tests.browser.lab_page import LabPage

NAMED = {source.slug: source for source in SOURCES}
START, TLS = NAMED["start-here"], NAMED["tls"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.mark.slow
@pytest.mark.parametrize("slug", WHOLE)
def test_run_all(lab: LabPage, of_jupyter: set[str], slug: str) -> None:
    """The solved notebook runs from end to end in the browser without an error; a picture of it is kept."""
    lab.open(NAMED[slug], solved=True)
    lab.run_all()
    lab.wait_idle()
    assert [] == lab.errors()
    assert "passed" in lab.text(lab.index("lab.check("))
    with lab.opened_out():
        lab.shot(SHOTS / f"{slug}-run.jpg")
        assert lab.complaints(beyond=of_jupyter) == {}


def test_hints_checks_and_quizzes_by_hand(lab: LabPage) -> None:
    """Three hints come one after the other, a typed answer is checked, and a quiz answers a click."""
    lab.open(START)
    lab.run(lab.index("open_lab("))
    first = lab.index('lab.check("start-here.1")')
    assert re.search("not attempted|not yet", lab.run(first))  # an earlier test may have answered
    hints = [lab.ask('lab.hint("start-here.1")', at=first) for _ in range(3)]
    assert ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3"] == [hint.split(":")[0].strip() for hint in hints]
    quiz = lab.index("lab.quiz(")
    lab.run(quiz)
    node = lab.node(quiz)
    node.wait_for_selector("button.labkit-answer").click()
    node.wait_for_selector("text=/right|not quite/")


def recorded(button: Any) -> str:
    """Return what is said when the answer on a button was taken."""
    return f"Recorded: {button.inner_text().partition(': ')[2]}"


def test_a_prediction_without_a_mouse(lab: LabPage) -> None:
    """With the keyboard alone: Tab goes from answer to answer, Space and Enter take one, and typed words change it."""
    lab.open(START)
    lab.run(lab.index("open_lab("))
    cell = lab.index("lab.predict(")
    said = lab.run(cell)
    node = lab.node(cell)
    first, second = node.query_selector_all("button.labkit-answer")[:2]
    first.focus()
    lab.page.keyboard.press("Space")
    node.wait_for_selector(f"text={recorded(first)}")
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("Enter")
    node.wait_for_selector(f"text={recorded(second)}")
    typed = said.partition("Without a mouse: ")[2].splitlines()[0]
    assert "Recorded:" in lab.ask(typed, at=cell)


def test_stop_restart_and_reload(lab: LabPage) -> None:
    """The stop button ends a cell and spares the lab; a restarted kernel and a reloaded page go on from the top."""
    lab.open(START, solved=True)
    lab.run(lab.index("open_lab("))
    lab.type("import threading; print('waiting'); threading.Event().wait()", at=len(lab.cells) - 1)
    lab.start(len(lab.cells) - 1)
    lab.node(len(lab.cells) - 1).wait_for_selector("text=waiting")
    lab.interrupt()
    lab.wait_idle()
    assert "KeyboardInterrupt" in lab.text(len(lab.cells) - 1)
    assert "what is there" in lab.run(lab.index("open_lab("))
    lab.restart()
    lab.wait_idle()
    said = lab.run(lab.index("lab.predict("))
    assert "NameError" in said
    assert "The lab is not open in this kernel" in said
    assert "what is there" in lab.run(lab.index("open_lab("))
    lab.close_all()
    lab.load()
    lab.open(START, solved=True)
    assert "what is there" in lab.run(lab.index("open_lab("))


def test_a_second_notebook_is_told_who_has_the_folder(lab: LabPage) -> None:
    """While one notebook works, another is told which one has the folder and what to do, without a traceback."""
    lab.open(START)
    lab.run(lab.index("open_lab("))
    lab.open(TLS)
    said = lab.run(lab.index("open_lab("))
    assert "WorkspaceBusyError" in said
    assert "start-here" in said
    assert "Traceback" not in said


def test_the_course_so_far(lab: LabPage) -> None:
    """The progress page has a row for every lesson and exercise, and keeps up with what is done further down."""
    lab.open(TLS)
    first, last = lab.index("open_lab("), len(lab.cells) - 1
    lab.run(first)
    said = lab.ask("lab.progress()", at=last)
    assert [source.slug for source in SOURCES if source.slug not in said] == []
    node, claims = lab.node(last), len(find_any("tls").claims)
    all_held = f"tr:has(a:text-is('tls')) td:text-is('{claims} of {claims}')"
    node.wait_for_selector("a:text-is('tls')")
    assert node.query_selector(all_held) is None
    lab.ask("for claim in lab.lesson.claims: lab.record.set('claims', claim.id, True)", at=first)
    node.wait_for_selector(all_held)
