"""Questions in a notebook: buttons where there are widgets, words everywhere."""

from __future__ import annotations

import hashlib
import html
import os
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from labkit.course.lesson import Question


def interactive() -> bool:
    """Return whether somebody sits in front of this notebook: a kernel, and not an unattended run."""
    if os.environ.get("LABKIT_REPORT") or os.environ.get("LABKIT_NO_WIDGETS"):
        return False
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def choose(
    question: str,
    options: Mapping[str, str],
    *,
    chosen: str | None,
    on_choice: Callable[[str], str],
    by_hand: str,
) -> None:
    """Ask for one of several answers.

    Args:
        question: What is asked.
        options: The answers, by key.
        chosen: The key that was chosen before.
        on_choice: Records a choice and returns what to say to it.
        by_hand: What to type instead of clicking.
    """
    print(question)
    if interactive():
        _buttons({key: f"{key}: {text}" for key, text in options.items()}, chosen, on_choice)
    else:
        for key, text in options.items():
            print(f"  {key}: {text}")
    if chosen is not None:
        print(f"You chose: {chosen}")
    print(f"Without a mouse: {by_hand}")


_STYLE = (
    "<style>.labkit-answer{height:auto!important;min-height:28px;line-height:1.4!important;padding:3px 10px!important;"
    "text-align:left!important;white-space:normal!important}</style>"
)
"""A long answer is wrapped; by itself ipywidgets cuts it off."""


def _buttons(options: Mapping[str, str], chosen: str | None, on_choice: Callable[[str], str]) -> None:
    """Show a button an answer.

    Not radio buttons: among those the arrow keys choose, and JupyterLab takes the arrow keys for its cells. To each of
    these Tab leads, and Space or Enter takes it.
    """
    import ipywidgets as widgets
    from IPython.display import display

    layout = widgets.Layout(width="max-content", max_width="100%", margin="2px 0")
    buttons = {key: widgets.Button(description=text, layout=layout) for key, text in options.items()}
    said = widgets.HTML(_STYLE)

    def mark(taken: str | None) -> None:
        for key, button in buttons.items():
            button.icon = "check" if key == taken else ""
            button.style.font_weight = "bold" if key == taken else "normal"

    def clicked(key: str) -> None:
        mark(key)
        said.value = _STYLE + html.escape(on_choice(key))

    for key, button in buttons.items():
        button.add_class("labkit-answer")
        button.on_click(lambda _, key=key: clicked(key))
    mark(chosen)
    display(widgets.VBox([*buttons.values(), said]))


def ask_all(questions: Sequence[Question], *, answers: str | None, by_hand: str) -> None:
    """Ask several questions.

    Args:
        questions: The questions.
        answers: One letter a question, to answer without a mouse.
        by_hand: What to type instead of clicking.
    """
    for number, question in enumerate(questions, start=1):
        lettered = _lettered(question)
        print(f"{number}. {question.text}")
        options = {letter: f"{letter}) {text}" for letter, (text, _, _) in lettered.items()}
        if answers is None and interactive():
            _buttons(options, None, partial(feedback, question))
            continue
        for text in options.values():
            print(f"   {text}")
        if answers is not None:
            print("   " + feedback(question, answers[number - 1 : number]))
    if answers is not None:
        given = zip(questions, answers, strict=False)
        right = sum(_lettered(q).get(letter, ("", False, ""))[1] for q, letter in given)
        print(f"{right} of {len(questions)} right.")
    else:
        print(f"Without a mouse: {by_hand}")


def feedback(question: Question, letter: str) -> str:
    """Return what to say to an answer."""
    if letter not in _lettered(question):
        return "no answer" if not letter else f"{letter!r}: not one of the answers"
    _, right, words = _lettered(question)[letter]
    return f"{letter}: {'right' if right else 'not quite'}. {words}"


def _lettered(question: Question) -> dict[str, tuple[str, bool, str]]:
    # In an order that has nothing to do with which is right, and that is the same each time.
    mixed = sorted(question.options, key=lambda option: hashlib.sha256(option[0].encode()).digest())
    return dict(zip("abcdef", mixed, strict=False))
