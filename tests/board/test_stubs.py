"""The stubs of the installed esptool are found, and files that are none are passed over."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from labkit.board.stubs import known_stubs, parse_stub

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.tool
@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_esptools_stubs_are_known(chip: str) -> None:
    """There is one at least, and each has code."""
    found = known_stubs(chip)
    assert found
    assert all(len(stub.text) == 32 and stub.segments[0][1] > 1000 for stub in found)
    assert () == known_stubs("esp8266-of-another-world")


@pytest.mark.tool
def test_a_script_of_that_name_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labkit is run as a script, esptool.py lies beside it and comes first."""
    (tmp_path / "esptool.py").write_text("raise SystemExit\n")
    wanted = known_stubs("esp32")
    monkeypatch.syspath_prepend(str(tmp_path))
    known_stubs.cache_clear()
    assert wanted
    assert wanted == known_stubs("esp32")


def test_a_stub_is_read() -> None:
    """Its code, where its parts go, and where it begins."""
    text = base64.b64encode(b"code").decode()
    told = {"entry": 8, "text": text, "text_start": 4, "data": text, "data_start": 16}
    stub = parse_stub(json.dumps(told).encode())
    assert stub is not None
    assert (8, hashlib.sha256(b"code").digest(), ((4, 4), (16, 4))) == (stub.entry, stub.text, stub.segments)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"entry": 1, "text": 3, "text_start": 1}'])
def test_other_files_are_passed_over(data: bytes) -> None:
    """A release of esptool that changes its files does not stop the board."""
    assert parse_stub(data) is None
