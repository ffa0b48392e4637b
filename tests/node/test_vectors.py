"""The golden vectors are what their writer says, and the twin meets each of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "vectors"


def load_writer() -> object:
    """Return the program that writes the vectors."""
    spec = importlib.util.spec_from_file_location("vectors_write", FOLDER / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_vector_has_drifted() -> None:
    """What lies in the folder is what the writer writes, and the writer stops where the twin gives something else."""
    ended = subprocess.run(
        [sys.executable, str(FOLDER / "write.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (0, "") == (ended.returncode, ended.stdout.strip() + ended.stderr)


def test_the_writer_stops_at_a_wrong_code() -> None:
    """A case whose code the twin does not give ends the writing."""
    writer = load_writer()
    with pytest.raises(AssertionError, match="twin says"):
        writer.code_of(lambda: writer.topics.device_id("a/b"), "id-wildcard")  # type: ignore[attr-defined]


def test_every_reason_is_in_a_vector() -> None:
    """Each code that the pure twin can give has a vector that gives it."""
    from labkit.firmware.update import STAGES
    from labkit.node.codes import CODES

    text = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.json") if path.name != "codes.json")
    given = {code for code in CODES if f'"{code}"' in text}
    asked = {
        code for code in CODES if code.startswith(("id-", "json-", "reply-", "manifest-f", "manifest-p"))
    }
    asked |= {rule for rules in STAGES.values() for rule in rules} - {"key-revoked", "manifest-differs"}
    assert set() == asked - given


def test_there_are_enough_hostile_updates() -> None:
    """At least twenty-five updates are refused, and some are taken."""
    cases = json.loads((FOLDER / "updates.json").read_text("utf-8"))["cases"]
    assert 25 <= sum(case["code"] != "ok" for case in cases)
    assert 3 <= sum(case["code"] == "ok" for case in cases)
    assert len(cases) == len({case["name"] for case in cases})
