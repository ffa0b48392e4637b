"""Every page of the built site in a real browser."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import DESK, PHONE, keep
from tests.conftest import seed

if TYPE_CHECKING:
    from pathlib import Path

TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) { return []; }
    const wide = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > width + 1);
    return wide.map(e => e.outerHTML.slice(0, 90)).slice(0, 3).concat('wider than the window');
}"""
"""What makes a page scroll sideways."""

NAMELESS = """() => [
    ...document.querySelectorAll('img:not([alt]), article img[alt=""]'),
    ...[...document.querySelectorAll('article svg')].filter(svg => !svg.closest('[aria-hidden=true], button, a, summary')
        && !(svg.getAttribute('role') === 'img' && svg.querySelector('title'))
        && !svg.closest('.mermaid')),
].map(each => each.outerHTML.slice(0, 120))"""
"""Pictures without words."""

PARTS = 4
"""Tests that share the pages, so that no core has them all."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # the site may have to be built


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone-and-desk"])
def test_every_page_fits_and_is_quiet(built_site: Path, address: str, page: Any, part: int) -> None:
    """Each page, half of them in the dark, is as wide as a phone and as a desk's window; its pictures have words.

    Pictures of the lessons are kept.
    An ordinary run looks at a quarter of them, chosen by its seed.
    """
    wide, nameless = {}, {}
    pages = [path.relative_to(built_site).as_posix() for path in sorted(built_site.rglob("*.html"))]
    pages = [name for name in pages if not name.startswith("_static/")]  # there, pieces of pages of the theme
    if not os.environ.get("LABKIT_TEST_FULL"):
        pages = random.Random(seed()).sample(pages, len(pages) // 4)
    for number, name in enumerate(pages[part::PARTS]):
        page.emulate_media(color_scheme=("light", "dark")[number % 2])
        page.goto(f"{address}{name}")
        nameless |= {name: found} if (found := page.evaluate(NAMELESS)) else {}
        for width, height in (PHONE, DESK):
            page.set_viewport_size({"width": width, "height": height})
            wide |= {(name, width): found} if (found := page.evaluate(TOO_WIDE)) else {}
        if name.startswith("lessons/"):
            keep(page, name.removesuffix(".html"))
    assert wide == {}
    assert nameless == {}
