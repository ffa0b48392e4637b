"""labkit.processes: child programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from labkit.errors import ToolFailedError, ToolMissingError, ToolTimeoutError
from labkit.processes import find_tool, install_line, require_tool, run


def test_run_captures_both_streams() -> None:
    """What a program prints and what it complains about are kept apart."""
    ended = run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert (ended.stdout.strip(), ended.stderr.strip(), ended.output) == ("out", "err", "out\nerr")


def test_run_feeds_standard_input_and_environment() -> None:
    """A program gets the bytes and the variables that it is given, on top of ours."""
    code = "import os, sys; print(sys.stdin.read() + os.environ['LAB_WORD'] + str('PATH' in os.environ))"
    assert run([sys.executable, "-c", code], stdin=b"a", env={"LAB_WORD": "b"}).stdout.strip() == "abTrue"


def test_failure_carries_status_and_output() -> None:
    """A status other than 0 is an error that carries what the program said."""
    argv = [sys.executable, "-c", "import sys; print('first'); sys.exit('no such luck')"]
    with pytest.raises(ToolFailedError) as caught:
        run(argv)
    assert caught.value.returncode == 1
    assert caught.value.output == "first\nno such luck"
    assert run(argv, check=False).returncode == 1


def test_timeout_kills_and_says_so() -> None:
    """A program that hangs is stopped after its time."""
    with pytest.raises(ToolTimeoutError) as caught:
        run(
            [
                sys.executable,
                "-c",
                "import sys; sys.stdin.read(); import threading; threading.Event().wait()",
            ],
            timeout=0.3,
        )
    assert caught.value.seconds == 0.3


def test_missing_tool_names_the_install_line() -> None:
    """A program that is not here gives the line that installs it."""
    with pytest.raises(ToolMissingError) as caught:
        require_tool("no-such-tool")
    assert install_line("no-such-tool") in caught.value.advice
    with pytest.raises(ToolMissingError) as caught:
        run(["/no/such/tool"])
    assert caught.value.tool == "tool"


def test_variable_overrides_the_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment variable decides where a tool is, and a wrong one is not passed over."""
    monkeypatch.setenv("LAB_TOOL", sys.executable)
    assert find_tool("anything", variable="LAB_TOOL") == Path(sys.executable)
    monkeypatch.setenv("LAB_TOOL", str(tmp_path / "absent"))
    assert find_tool("python3", variable="LAB_TOOL") is None


def test_folders_are_searched_after_path(tmp_path: Path) -> None:
    """A tool outside PATH is found in the extra folders."""
    tool = tmp_path / "lab-only-tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert find_tool("lab-only-tool") is None
    assert find_tool("lab-only-tool", folders=[tmp_path]) == tool
