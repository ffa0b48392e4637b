"""labkit.course.prompts: buttons where there are widgets, words everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.course import Question, prompts

OPTIONS = {"in": "gets in", "tls": "refused"}
QUESTION = Question("1 + 1?", (("2", True, "Yes & no."), ("3", False, "No.")))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pretend that somebody sits there, and collect what is displayed."""
    found: list[Any] = []
    monkeypatch.setattr(prompts, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", found.append)
    return found


def test_nobody_sits_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a notebook, and in an unattended run, nothing is displayed."""
    assert not prompts.interactive()
    monkeypatch.setenv("LABKIT_REPORT", "x")
    assert not prompts.interactive()


def test_a_click_is_recorded_and_answered(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A click on a button records its key, and what is said to it appears, escaped."""
    clicked: list[str] = []

    def record(key: str) -> str:
        clicked.append(key)
        return "<b>noted</b>"

    prompts.choose("What?", OPTIONS, chosen=None, on_choice=record, by_hand="lab.predict(…)")
    *buttons, said = shown[0].children
    assert [button.description for button in buttons] == ["in: gets in", "tls: refused"]
    assert ["", ""] == [button.icon for button in buttons]
    for button, icons in ((buttons[1], ["", "check"]), (buttons[0], ["check", ""])):
        button.click()
        assert icons == [each.icon for each in buttons]
    assert clicked == ["tls", "in"]
    assert said.value.endswith("</style>&lt;b&gt;noted&lt;/b&gt;")
    assert "lab.predict(…)" in capsys.readouterr().out


def test_an_earlier_choice_is_shown(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """What was chosen before is marked and named."""
    prompts.choose("What?", OPTIONS, chosen="in", on_choice=str, by_hand="-")
    assert ["check", ""] == [button.icon for button in shown[0].children[:-1]]
    assert "You chose: in" in capsys.readouterr().out


def test_a_quiz_with_buttons(shown: list[Any]) -> None:
    """Each question of a quiz has its own buttons and its own feedback."""
    prompts.ask_all((QUESTION, QUESTION), answers=None, by_hand="-")
    assert len(shown) == 2
    *buttons, said = shown[1].children
    wrong = next(button for button in buttons if button.description.endswith("3"))
    wrong.click()
    assert said.value.endswith(f"</style>{wrong.description[0]}: not quite. No.")
