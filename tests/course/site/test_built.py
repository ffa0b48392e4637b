"""The built site: whole, local, readable by everybody."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from labkit.course.lessons import find, slugs

if TYPE_CHECKING:
    from collections.abc import Sequence

COURSE = Path.cwd()

pytestmark = pytest.mark.timeout(900)  # half a minute on a quiet machine


class Page(HTMLParser):
    """What a page has that we look at.

    Attributes:
        lang: The language that it says it is in.
        titles: Its titles, those of figures aside.
        ids: What a link can lead to in it.
        links: Where its links lead.
        loads: What a browser fetches with it.
        headings: The levels of its article's headings, in order; the theme has a title of its own for paper.
        nameless: Pictures and frames without a name.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lang, self.titles, self.in_svg, self.in_article = "", 0, 0, 0
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.nameless: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Take down what a tag says."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.in_svg += tag == "svg"
        self.in_article += tag == "article"
        self.lang = given.get("lang", "") if tag == "html" else self.lang
        self.titles += tag == "title" and not self.in_svg
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in {"script", "img", "iframe", "source", "video", "audio", "embed"} and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and not {"next", "prev", "canonical", "search", "index"} & set(given["rel"].split()):
            self.loads.append(given["href"])
        if self.in_article and re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        # An empty alternative text is right beside words that say the same; in an article there are none.
        if (tag == "img" and "alt" not in given) or (tag == "iframe" and not given.get("title")):
            self.nameless.append(given.get("src", tag))

    def handle_endtag(self, tag: str) -> None:
        """Leave a figure, or the article."""
        self.in_svg -= tag == "svg"
        self.in_article -= tag == "article"


@pytest.fixture
def site(built_site: Path) -> Path:
    """Return the built site."""
    return built_site


@pytest.fixture(scope="module")
def pages(built_site: Path) -> dict[Path, Page]:
    """Return what each page has."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in _html(built_site)}


def _html(site: Path) -> list[Path]:
    """Return the pages; the theme keeps pieces of some among its own files."""
    return sorted(set(site.rglob("*.html")) - set((site / "_static").rglob("*.html")))


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """No page, style or script loads anything that is not in the site's folder."""
    remote = {
        (path.name, load) for path, page in pages.items() for load in page.loads if urlsplit(load).netloc
    }
    assert set() == remote
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), path
    for path in [*site.rglob("*.js"), *pages]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(cdn\.jsdelivr|unpkg|cdnjs|googleapis|gstatic)\.[a-z]+", text), path


def test_what_a_page_loads_is_there(pages: dict[Path, Page]) -> None:
    """Each script, module, style and picture of a page is a file of the site."""
    absent = {
        (path.name, load)
        for path, page in pages.items()
        for load in page.loads
        if not load.startswith("data:") and not (path.parent / unquote(urlsplit(load).path)).is_file()
    }
    absent |= {
        (path.name, module)
        for path in pages
        for module in re.findall(r'"(\.{1,2}/[^"]+\.mjs)"', path.read_text(encoding="utf-8"))
        if not (path.parent / module).is_file()
    }
    assert set() == absent


def test_no_page_loads_what_draws_icons_twice(pages: dict[Path, Page]) -> None:
    """A font draws the theme's icons; its script of 1.5 MB, which would do so again, is left out, and no other is."""
    for path, page in pages.items():
        names = {Path(urlsplit(load).path).name for load in page.loads}
        assert "fontawesome.js" not in names, path
        assert {"bootstrap.js", "pydata-sphinx-theme.js", "theme.css"} <= names, path


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    """Each link inside the site leads to a page, and to a place on it where it names one."""
    broken = set()
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert parts.scheme in {"https", "mailto"}, (path, link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (
                parts.fragment and target in pages and parts.fragment not in pages[target].ids
            ):
                broken.add((path.name, link))
    assert {each for each in broken if each[1] not in {"#", "#top"}} == set()


def test_each_page_says_what_it_is(pages: dict[Path, Page]) -> None:
    """A page has a language, one title, one main heading, and headings that go down one step at a time."""
    for path, page in pages.items():
        assert page.lang == "en", path
        assert page.titles == 1, path
        if path.name in {"search.html", "genindex.html", "py-modindex.html"}:
            continue  # Sphinx's own
        assert Counter(page.headings)[1] == 1, path
        assert [b for a, b in pairwise(page.headings) if b > a + 1] == [], (path, page.headings)


def test_pictures_have_words(pages: dict[Path, Page]) -> None:
    """Each picture has an alternative text, and each figure drawn in place a title."""
    assert {} == {path: page.nameless for path, page in pages.items() if page.nameless}
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for svg in re.findall(r"<svg[^>]*role=\"img\".*?</svg>", text, re.DOTALL):
            assert "<title>" in svg, path


def test_lessons_are_there_with_outputs_and_folded_solutions(site: Path) -> None:
    """A lesson's page has its outputs and its glossary links, keeps solutions folded, and shows no key."""
    shown = sorted((site / "lessons").glob("[0-9]*.html"))
    assert len(shown) == (len(slugs()) if (COURSE / "build" / "run" / "report.json").exists() else 1)
    for path in shown:
        text = path.read_text(encoding="utf-8")
        lesson = find(path.stem.partition("_")[2])
        assert text.count("cell_output") > 10
        assert "glossary.html#term-" in text
        assert (text.count("tag_hide-input") > 0) == bool(lesson.checks)
        assert "PRIVATE KEY-----\n" not in text
        assert lesson.claims[0].text.split("'")[0] in text


def test_every_document_has_a_page(site: Path) -> None:
    """Each Markdown file of docs/ is a page, and the side bar leads to it."""
    front = (site / "index.html").read_text(encoding="utf-8")
    for path in sorted(Path("docs").glob("*.md")):
        assert (site / f"{path.stem}.html").is_file()
        assert path.stem == "index" or f'href="{path.stem}.html"' in front


def test_search_finds_a_word_of_a_lesson(site: Path) -> None:
    """The index for the search field knows words of lessons, of the glossary and of the library."""
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"intermedi"' in index
    assert "labkit.mqtt" in index
    assert "positive control" in index
