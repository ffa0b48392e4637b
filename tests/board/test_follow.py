"""labkit.board.follow: a board's console, read by somebody else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from labkit.board.follow import follow
from labkit.board.virtual_board import VirtualBoard
from labkit.clock import Deadline
from labkit.errors import BoardGoneError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_console_is_followed_from_the_last_reset_to_the_end(tmp_path: Path) -> None:
    """A reader who comes late hears the present run from its beginning, then what is new, and ends with the board."""
    heard: list[str] = []
    with VirtualBoard.open(tmp_path / "board") as board:
        board.console.say("of the run before")
        board.reset()
        board.console.say("early")
        reader = threading.Thread(target=lambda: heard.extend(follow(tmp_path / "board")))
        reader.start()
        deadline = Deadline(10)
        while "early" not in heard and not deadline.passed:
            deadline.pause()
        board.console.say("late")
    reader.join(10)
    assert not reader.is_alive()
    assert heard[0].startswith("[virtual ESP32")
    assert ["early", "late"] == [line for line in heard if line in {"of the run before", "early", "late"}]


def test_no_board_is_told(tmp_path: Path) -> None:
    """Where no board runs, the reader is told so at once."""
    with pytest.raises(BoardGoneError) as caught:
        next(follow(tmp_path))
    assert "labkit board run" in caught.value.advice


def test_a_file_that_begins_anew_is_followed(tmp_path: Path) -> None:
    """When the log is cut because it grew too long, nothing is read twice and the reader goes on."""
    with VirtualBoard.open(tmp_path / "board") as board:
        lines = follow(tmp_path / "board")
        assert next(lines).startswith("[virtual")
        board.console.say("x" * 500)
        while next(lines) != "x" * 500:
            pass
        (tmp_path / "board/console.log").write_text("")
        board.console.say("anew")
        assert "anew" == next(lines)
