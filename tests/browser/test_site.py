"""The built site in a real browser, at a desk and on a phone, in the light and in the dark."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import DESK, PHONE, keep, served, watched
from tests.conftest import missing

if TYPE_CHECKING:
    from pathlib import Path

LESSON = "lessons/00_start-here.html"
KINDS = (
    "index.html", LESSON, "claims.html", "glossary.html", "performance.html", "api/mqtt.html",
    "commands/ca.html", "exercises/mtls-setup.html", "docker/index.html", "search.html",
)  # fmt: skip
"""A page of each kind, for what takes longer to look at."""

PLAIN = """# Title

## Part

Words, `code` and [a link](https://jupyter.org).

| a | b |
| - | - |
| 1 | 2 |

```python
print("x")
```

:::{py:function} f(aaaaaaaaaaaaaaaaaaaaaaaaaa: int, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: int, ccccccccccccccccccccc: int)
:::

```{toctree}
:hidden:

below/index
```
"""
"""A page without anything of ours."""

SETTINGS = """
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
myst_enable_extensions = ["colon_fence"]
python_maximum_signature_line_length = 88
"""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # the site may have to be built


def violations(page: Any) -> dict[str, str]:
    """Return the rules that axe finds broken on a page, each with where."""
    from axe_playwright_python.sync_playwright import Axe

    # It would ask for what a style imports in the wrong place.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return {each["id"]: each["nodes"][0]["html"][:200] for each in found}


@pytest.fixture(scope="module")
def of_theme(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the rules that Sphinx and its theme break by themselves, measured on a site without anything of ours."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "below").mkdir()
    (folder / "index.md").write_text(PLAIN, encoding="utf-8")
    (folder / "below" / "index.md").write_text("# Below\n\n```{toctree}\nmore\n```\n", encoding="utf-8")
    (folder / "below" / "more.md").write_text("# More\n", encoding="utf-8")
    (folder / "conf.py").write_text(SETTINGS, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", str(folder), str(folder / "html")]
    subprocess.run(command, check=True, capture_output=True)
    found = set()
    with served(folder / "html") as url:
        for width, height in (DESK, PHONE):
            with watched(chromium, width=width, height=height) as (page, _):
                for name in ("index.html", "search.html"):
                    page.goto(f"{url}{name}")
                    found |= set(violations(page))
    return found


LOOKS = [pytest.param(DESK, "light", marks=pytest.mark.slow), (PHONE, "dark")]


@pytest.mark.parametrize(("page", "scheme"), LOOKS, indirect=["page"], ids=["desk-light", "phone-dark"])
def test_axe_finds_nothing_of_ours(
    built_site: Path, address: str, page: Any, of_theme: set[str], scheme: str
) -> None:
    """On a page of each kind axe finds nothing beyond the theme's own; pictures of them are kept."""
    page.emulate_media(color_scheme=scheme)
    found = {}
    for name in KINDS:
        assert (built_site / name).is_file(), name
        page.goto(f"{address}{name}")
        if name == "docker/index.html":
            page.locator("pre.mermaid svg").wait_for()
        found |= {(name, rule): at for rule, at in violations(page).items() if rule not in of_theme}
        size = page.viewport_size["width"]
        keep(page, f"{name.removesuffix('.html')}-{size}-{scheme}", whole=False)
    assert found == {}


def test_search_finds_a_word(address: str, page: Any) -> None:
    """Who looks for a word gets pages that have it, and a link leads to one."""
    page.goto(f"{address}search.html?q=impostor")
    found = page.locator("#search-results li a").first
    found.wait_for()
    found.click()
    page.wait_for_url(lambda url: "search.html" not in url)
    assert "impostor" in page.locator("article").text_content().lower()


def test_a_figure_from_text_is_drawn(address: str, page: Any) -> None:
    """Mermaid draws with what the site brings along, and draws again when the light changes."""
    page.emulate_media(color_scheme="light")
    page.goto(f"{address}docker/index.html")
    figure = page.locator("pre.mermaid svg", has_text="provisioning")
    figure.wait_for()
    light = figure.inner_html()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "old => { const svg = document.querySelector('pre.mermaid svg'); return svg && svg.innerHTML !== old; }",
        arg=light,
    )


def test_the_light_is_changed_by_keyboard(address: str, page: Any) -> None:
    """The switch can be reached and pressed without a mouse, and the next page remembers."""
    page.goto(f"{address}index.html")
    switch = page.locator("button.theme-switch-button:visible").first
    switch.press("Enter")
    dark = page.locator("button.theme-change-button[data-mode=dark]:visible")
    dark.wait_for()
    for _ in range(3):  # the system's, light, dark
        page.keyboard.press("Tab")
    assert dark.evaluate("each => each === document.activeElement")
    page.keyboard.press("Enter")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.goto(f"{address}glossary.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_a_lesson_leads_to_another(built_site: Path, address: str, page: Any) -> None:
    """A lesson's link to another opens that lesson."""
    if not (built_site / "lessons" / "10_audit.html").is_file():
        missing("the site has one lesson only; python3 lab.py run makes all of them")
    page.goto(f"{address}{LESSON}")
    link = page.locator(
        "article a[href*='_']:not([href*='#']):not([href^='http']):not([download]):visible"
    ).first
    words = link.get_attribute("href")
    link.click()
    page.wait_for_url(f"**/{words.rpartition('/')[2]}")
    assert page.locator("article h1").count() == 1


def test_what_goes_deeper_is_folded(address: str, page: Any) -> None:
    """Below a heading that goes deeper the page is folded: a key opens it, and so does a link to what is inside."""
    page.goto(f"{address}{LESSON}")
    folded = page.locator("details.go-deeper")
    count = folded.count()
    assert count == page.locator("article h2", has_text="Go deeper").count() > 1
    assert not any(folded.nth(i).evaluate("each => each.open") for i in range(count))
    folded.first.locator("> summary").press("Enter")
    assert folded.first.evaluate("each => each.open")
    inside = page.locator("details.go-deeper section[id]").last
    assert not inside.is_visible()
    page.goto(f"{address}{LESSON}#{inside.get_attribute('id')}")
    assert inside.is_visible()
