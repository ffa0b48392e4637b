"""What our pages need of Sphinx beyond its configuration: parts that fold, no page that is left over, types that are links."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from labkit.course.site.typing_imports import run_typing_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

_OPENED = '<details class="go-deeper"><summary>Beyond the core path</summary>\n'
_CLOSED = "</details>\n"


class FoldDeeper(SphinxPostTransform):  # type: ignore[misc] # Sphinx is an extra
    """Folds what stands below a lesson's headings that go deeper.

    It comes after Sphinx has collected a page's contents, so that the headings inside are listed there.
    """

    default_priority = 900
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Put each such section's content, all but its heading, into an element that a reader opens."""
        if not self.env.docname.startswith("lessons/"):
            return
        for section in list(self.document.findall(nodes.section)):
            if section[0].astext().startswith("Go deeper"):
                section.insert(1, nodes.raw("", _OPENED, format="html"))
                section.append(nodes.raw("", _CLOSED, format="html"))


def _plain(
    _app: Sphinx, _what: str, _name: str, _of: Any, _options: Any, signature: str | None, returned: str | None
) -> Any:
    """Return a signature that Sphinx can read: `<factory>`, as dataclasses write a default, is no Python."""
    return (signature.replace("<factory>", "..."), returned) if signature else None


def _sweep(app: Sphinx, problem: Exception | None, *, indexes: set[str]) -> None:
    """Remove pages, pictures and downloads of documents that are gone: Sphinx leaves them."""
    if problem is None and app.builder.name == "html":
        keep = {f"{page}.html" for page in {*app.env.found_docs, *indexes}}
        keep |= {f"_images/{name}" for _, name in app.env.images.values()}
        keep |= {f"_downloads/{name}" for _, name in app.env.dlfiles.values()}
        for path in _swept(Path(app.outdir)):
            if path.relative_to(app.outdir).as_posix() not in keep:
                path.unlink()


def _swept(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        first = path.relative_to(folder).parts[0]
        if path.is_file() and (
            first in {"_images", "_downloads"} or (path.suffix == ".html" and first != "_static")
        ):
            yield path


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx; it calls this."""
    indexes: set[str] = set()  # and the search: pages that have no document
    app.setup_extension("sphinx.ext.autodoc")
    app.add_post_transform(FoldDeeper)
    app.connect("builder-inited", lambda _: run_typing_imports())
    app.connect("autodoc-process-signature", _plain)
    app.connect("html-page-context", lambda _, page, *__: indexes.add(page))
    app.connect("build-finished", partial(_sweep, indexes=indexes))
    own = zlib.crc32(
        Path(__file__).read_bytes()
    )  # what Sphinx has kept was read by an older us if this differs
    return {"env_version": own, "parallel_read_safe": True, "parallel_write_safe": True}
