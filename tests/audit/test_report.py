"""Reports: they survive a file, compare fairly, and show hostile names as names."""

from __future__ import annotations

import datetime as dt
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.audit import BY_ID, Evidence, Judged, Report, Verdict, compare
from labkit.audit.evidence import fault, seen, verdict_of
from labkit.audit.markdown import comparison, markdown
from labkit.audit.page import comparison_page, page
from labkit.audit.shelf import newest, read_report, save, write_report
from labkit.errors import ReportUnreadableError
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOSTILE = "<script>alert(1)</script> | [x](javascript:1) `rm` \n# not a heading"


def judged(item: str, *evidence: Evidence) -> Judged:
    """Return an item with evidence and the verdict that follows."""
    return Judged(BY_ID[item], verdict_of(evidence), evidence)


def report(*found: Judged) -> Report:
    """Return a report."""
    return Report("the plant", NOON, found, 1.5)


@pytest.mark.parametrize(
    ("evidence", "wanted"),
    [
        ((), Verdict.FAIL),
        ((seen("a", "b"),), Verdict.PASS),
        ((seen("a", "b"), fault("c", "d")), Verdict.FAIL),
        ((Evidence(holds=True, what="a", source="b", person=True),), Verdict.PERSON),
        ((Evidence(holds=True, what="a", source="b", person=True), fault("c", "d")), Verdict.FAIL),
    ],
)
def test_evidence_decides(evidence: tuple[Evidence, ...], wanted: Verdict) -> None:
    """One fault fails, nothing to go by fails too, and what a person has to read waits for one."""
    assert wanted == verdict_of(evidence)


def test_a_report_survives_a_file(tmp_path: Path) -> None:
    """What is saved is read again, and the newest come last."""
    workspace = Workspace.open(tmp_path / "w")
    first = report(judged("access-1", seen("a", "b")))
    second = report(judged("access-1", fault(HOSTILE, "d")))
    paths = [save(workspace, first), save(workspace, second)]
    assert paths == newest(workspace, 2)
    assert [first, second] == [read_report(path) for path in paths]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 9}',
        '{"format": 1, "items": [{}]}',
        "[" * 100_000,
        '{"format": 1, "items": 3}',
    ],
)
def test_garbage_is_no_report(tmp_path: Path, text: str) -> None:
    """A file that is no report is refused as that, and is left alone."""
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ReportUnreadableError) as refused:
        read_report(path)
    assert (path, text) == (refused.value.path, path.read_text())
    write_report(path, report())
    assert report() == read_report(path)  # the control


def test_too_few_reports_are_told(tmp_path: Path) -> None:
    """Without two audits there is nothing to compare, and the advice says how to come by them."""
    with pytest.raises(ReportUnreadableError) as refused:
        newest(Workspace.open(tmp_path / "w"), 2)
    assert "labkit audit run" in refused.value.advice


def test_changes_are_named() -> None:
    """Mended, broken, better, worse and same are told apart, and what was not audited is not called mended."""
    one, two = fault("one", "x"), fault("two", "x")
    before = report(
        judged("access-1", one), judged("access-2", seen("ok", "x")), judged("access-3", one, two),
        judged("access-4", one), judged("network-1", one), judged("network-2", one),
    )  # fmt: skip
    after = report(
        judged("access-1", seen("ok", "x")), judged("access-2", one), judged("access-3", one),
        judged("access-4", one, two), judged("network-1", one),
    )  # fmt: skip
    found = {change.item.id: change.kind for change in compare(before, after)}
    wanted = {
        "network-1": "same", "network-2": "not compared", "access-1": "mended", "access-2": "broken",
        "access-3": "better", "access-4": "worse",
    }  # fmt: skip
    assert wanted == found


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag and what it would load."""
        self.found += [tag, *(str(value) for name, value in attrs if name in {"src", "href"})]


def test_a_page_shows_hostile_names_as_names() -> None:
    """What a client chose as its name becomes no tag in a page, and nothing is loaded from anywhere."""
    hostile = report(judged("access-1", fault(HOSTILE, HOSTILE)))
    before = report(judged("access-1", seen("a", "b")))
    for text in (page(hostile), comparison_page(before, hostile, compare(before, hostile))):
        tags = Tags()
        tags.feed(text)
        assert "script" not in tags.found
        assert not any(":" in each or "//" in each for each in tags.found)
        assert "&lt;script&gt;" in text


def test_markdown_shows_hostile_names_as_names() -> None:
    """What a client chose becomes no heading, no link, no cell and no tag."""
    hostile = report(judged("access-1", fault(HOSTILE, HOSTILE)))
    for text in (
        markdown(hostile),
        comparison(
            report(judged("access-1", seen("a", "b"))),
            hostile,
            compare(report(judged("access-1", seen("a", "b"))), hostile),
        ),
    ):
        assert "<script>" not in text
        assert "\n# not a heading" not in text
        assert "[x](" not in text.replace("\\[x](", "")


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_evidence_can_be_told(what: str, source: str) -> None:
    """Whatever evidence says, it survives JSON, and page and Markdown can be written."""
    found = report(judged("access-1", fault(what, source)))
    assert found == Report.from_json(json.loads(json.dumps(found.to_json())))
    assert page(found)
    assert markdown(found)


def test_verdicts_have_words_and_not_only_colours() -> None:
    """A page says each verdict in words, with how to mend what fails and the rows that it serves."""
    text = page(report(judged("access-1", fault("it writes", "x")), judged("access-2", seen("shut", "y"))))
    assert ">fail</span>" in text
    assert ">pass</span>" in text
    assert BY_ID["access-1"].steps[0].replace("'", "&#x27;") in text
    assert "I3 I8" in text
