"""The course as a site: executed lessons, guides and reference, in pages that load nothing from a network."""

from labkit.course.site.build import build
from labkit.course.site.serve import serve

__all__ = ["build", "serve"]
