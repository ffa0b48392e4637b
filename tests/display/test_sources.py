"""labkit.display.sources: what programs do, cut from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.display.sources import Call, side_by_side

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def programs(tmp_path: Path) -> list[tuple[str, Path]]:
    """Return two small programs."""
    (tmp_path / "one.c").write_text("int main(void)\n{\n    set_key(key);\n    set_cert(cert);\n}\n")
    (tmp_path / "two.cpp").write_text("void setup() {\n  client.setPrivateKey(key);\n}\n")
    return [("C", tmp_path / "one.c"), ("C++", tmp_path / "two.cpp")]


def test_lines_are_cut_from_the_files(programs: list[tuple[str, Path]]) -> None:
    """A row has a purpose and the lines of each program; a change of a file changes what is shown."""
    calls = [Call("shows who we are", (r"set_(key|cert)", "setPrivateKey")), Call("starts", ("main", ""))]
    shown = side_by_side("Clients", programs, calls)
    assert [
        ("shows who we are", "set_key(key);\nset_cert(cert);", "client.setPrivateKey(key);"),
        ("starts", "int main(void)", "(not here)"),
    ] == list(shown.rows)
    programs[0][1].write_text("set_key(other);\n")
    assert "set_key(other);" in str(side_by_side("Clients", programs, calls[:1]))
    assert "monospace" in shown._repr_html_()


def test_a_pattern_that_finds_nothing_is_a_mistake(programs: list[tuple[str, Path]]) -> None:
    """Where the file has changed and what is said about it has not, nothing is shown."""
    with pytest.raises(ValueError, match="one.c has no line"):
        side_by_side("Clients", programs, [Call("listens", ("subscribe", ""))])
