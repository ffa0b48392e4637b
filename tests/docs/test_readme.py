"""The README tells the truth: its commands run, its help is the real one, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from labkit.cli import cli, main
from labkit.course.lessons import find, slugs
from labkit.scenarios import mutual_tls
from tests.docs import exercises

if TYPE_CHECKING:
    from labkit.pki import Store

README = Path("README.md").read_text(encoding="utf-8")
PAGES = [Path(name) for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    Path("docs").rglob("*.md")
)


def commands(group: click.Group, prefix: str = "") -> list[str]:
    """Return every command of the command line, spelt out."""
    context = click.Context(group)
    found: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        found += (
            commands(command, f"{prefix}{name} ") if isinstance(command, click.Group) else [f"{prefix}{name}"]
        )
    return found


def test_help_block_is_the_real_one() -> None:
    """The help that README shows is what lab.py prints."""
    said = subprocess.run(
        [sys.executable, "lab.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    (block,) = re.findall(r"\$ python3 lab\.py --help\n(.*?)```", README, re.DOTALL)
    assert said.startswith(block.rstrip())


@pytest.mark.parametrize("command", commands(cli))
def test_every_command_is_in_the_readme_and_explains_itself(command: str) -> None:
    """Each command stands in README's table and has a help text with a sentence."""
    assert f"`{command}`" in README
    said = subprocess.run(
        [sys.executable, "-m", "labkit", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(said.splitlines()) > 4


def test_commands_of_the_readme_exist() -> None:
    """Every `lab.py` line in the documents names a command that there is, with options that it has."""
    known = set(commands(cli)) | {"test", "bundle", "extras", "ca", "broker", "notebooks", "provision"}
    lines = {
        words
        for page in PAGES
        for words in re.findall(
            r"(?:python3 lab\.py|^labkit) ([a-z]+(?: [a-z]+\b)?)", page.read_text(), re.MULTILINE
        )
    }
    unknown = [line for line in lines if line not in known and line.split()[0] not in known]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a document leads to a file."""
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_lesson_is_in_the_table() -> None:
    """The table of lessons has each lesson with its title and minutes."""
    for slug in slugs():
        lesson = find(slug)
        assert f"[{lesson.title}](notebooks/" in README
        assert re.search(rf"{re.escape(slug)}\.ipynb\) \| {lesson.minutes} \|", README)


def test_exercises_are_counted() -> None:
    """The table of exercises is what the lessons have; scripts/count-exercises writes it."""
    assert exercises.written(README) == README


def test_glossary_has_the_bold_words() -> None:
    """The first bold use of a term of the glossary is spelt as it is there; terms stand in order."""
    terms = re.findall(
        r"^\*\*([^*]+)\*\*:", Path("docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(terms, key=str.lower) == terms
    assert {"chain", "positive control", "probe", "stage", "trust anchor"} <= set(terms)


@pytest.mark.broker
def test_the_transcript_is_true(
    store: Store, mosquitto: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the first transcript, typed today, prints the lines that README shows."""
    (block,) = re.findall(r"```console\n(\$ python3 lab\.py ca issue.*?)```", README, re.DOTALL)
    monkeypatch.setenv("LABKIT_WORKSPACE", str(store.workspace.root))
    with mutual_tls(store):
        for part in block.split("$ python3 lab.py ")[1:]:
            words, *expected = part.strip().splitlines()
            main(words.split())
            said = capsys.readouterr().out.replace(str(store.workspace.root), "workspace").splitlines()
            assert [line for line in map(_told, expected) if line not in map(_told, said)] == []


def _told(line: str) -> str:
    # A handshake that fails while Mosquitto still accepts the connection is told of in other words, with the same end.
    head, colon, _ = line.partition("the broker said:")
    return f"{head}{colon} {line.rstrip('.').rpartition(':')[2]}" if colon else line
