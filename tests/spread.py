"""How the tests are spread over the cores: what shares a costly fixture stays together, the longest goes first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

LONGEST = (
    "tests/notebooks/test_run.py",
    "tests/course/test_answers.py",
    "tests/course/grading/test_batch.py",
    "tests/scenarios/test_conformance.py",
    "tests/audit/test_plant.py",
    "tests/lab/test_lab_script.py",
    "tests/firmware/test_host.py",
    "tests/browser/test_pages.py::test_every_page_fits_and_is_quiet[phone-and-desk-0]",
    "tests/browser/test_notebooks.py",
    "tests/browser/test_use.py",
    "tests/browser/test_pages.py",
    "tests/browser/test_site.py",
    "tests/course/site/test_built.py",
)
"""Files, and parts of one, that take more than half a minute, longest first: begun last, one would leave the other cores idle.

The first part of the site's pages comes before whatever else needs the site, and builds it.
"""

APART = (
    "tests/notebooks/test_run.py::test_unsolved_copies_pass_no_check",
    "tests/notebooks/test_run.py::test_lessons_run_alone_and_again",
    "tests/browser/test_pages.py::test_every_page_fits_and_is_quiet",
)
"""Tests of which each is a group of its own: they are long, and share nothing."""


def group(nodeid: str) -> str:
    """Return what a test stays together with: the tests of its file, unless a table says otherwise."""
    test = nodeid.split("[", maxsplit=1)[0]
    file = test.split("::", maxsplit=1)[0]
    return nodeid if test in APART else file


def rank(nodeid: str) -> int:
    """Return a test's place in LONGEST, or the place after it."""
    return next((i for i, name in enumerate(LONGEST) if nodeid.startswith(name)), len(LONGEST))


class Spread(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]
    """Deals groups out to the workers, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
