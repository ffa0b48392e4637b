"""labkit.course.scrub: what a report does not say about the machine that it was made on."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from labkit.course.scrub import Places, scrub

PLACES = Places(workspace=Path("/srv/iot/build/run/workspace"), course=Path("/srv/iot"), home=Path("/root"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/iot/build/run/workspace/root/ca.crt", "workspace/root/ca.crt"),
        ("/srv/iot/.lab/venv/bin/python", "course/.lab/venv/bin/python"),
        ("'/root/notes', and /root.", "'~/notes', and ~."),
        ("file:///root/x", "file://~/x"),
        ("intermediate/root/ca.crt and root/ca.crt", "intermediate/root/ca.crt and root/ca.crt"),
        ("/rootless/x and /root-of-all", "/rootless/x and /root-of-all"),
        (repr("a\n/root/x"), repr("a\n~/x")),
        ("/usr/bin/openssl", "/usr/bin/openssl"),
    ],
)
def test_places_become_short_names(text: str, expected: str) -> None:
    """A folder of this machine becomes its short name; a name that only looks like it stays."""
    assert expected == PLACES.without(text)


def test_a_home_that_is_everything_is_left_alone() -> None:
    """A user whose home is the root of the disk keeps every path readable."""
    assert Places(workspace=Path("/w"), course=Path("/c"), home=Path("/")).without("/usr/bin") == "/usr/bin"


def test_keys_are_taken_out() -> None:
    """A private key of any kind is taken out, and what stands around it stays."""
    key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG\n-----END ENCRYPTED PRIVATE KEY-----"
    assert PLACES.without(f"before\n{key}\nafter") == "before\n[a private key was here]\nafter"
    assert PLACES.without("-----BEGIN CERTIFICATE-----") == "-----BEGIN CERTIFICATE-----"


def test_outputs_of_every_kind_are_scrubbed() -> None:
    """Text, HTML and errors alike lose the places, and the times of a cell go too."""
    outputs = [
        nbformat.v4.new_output("stream", text="/root/a"),
        nbformat.v4.new_output("execute_result", data={"text/html": "<b>/root/b</b>"}),
        nbformat.v4.new_output("error", ename="E", evalue="/root/c", traceback=["at /root/d"]),
    ]
    cell = nbformat.v4.new_code_cell(
        "x = '/root/source'", outputs=outputs, metadata={"execution": {"t": "1"}}
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("/root/prose"), cell])
    scrub(notebook, PLACES)
    found = notebook.cells[1]
    assert found.outputs[0].text == "~/a"
    assert found.outputs[1].data["text/html"] == "<b>~/b</b>"
    assert (found.outputs[2].evalue, found.outputs[2].traceback) == ("~/c", ["at ~/d"])
    assert "execution" not in found.metadata
    assert found.source == "x = '/root/source'"
