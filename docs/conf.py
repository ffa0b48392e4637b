"""Sphinx's configuration. It reads what `labkit site build` lays out in build/site/source, not this folder."""

from __future__ import annotations

from labkit import __version__

project = "IoT Device Security Labs"
author = "the course's contributors"
project_copyright = author
release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.mermaid",
    "labkit.course.site.extension",
]
exclude_patterns = ["*/student"]
suppress_warnings = [
    "myst.header",  # a page from an RFC's outline may skip a level; lessons are linted at their source
]
default_role = "code"

# Lessons come executed, see labkit/course/site.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # an unattended run has no widgets; their words are there instead
myst_enable_extensions = ["colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]
mermaid_use_local = "mermaid/dist/mermaid.esm.min.mjs"  # from npm, see docs/assets.json
mermaid_height = "auto"
mermaid_fullscreen = False  # its button is a letter that few fonts have, and what it opens loses the keyboard
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # the types stand in the signature
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "_static/mark.svg"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "logo": {"text": project, "image_light": "_static/mark.svg", "image_dark": "_static/mark.svg", "alt_text": ""},
    "navigation_with_keys": False,  # arrow keys scroll
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_source_button": False,
    "use_issues_button": False,
    "collapse_navbar": True,  # with every page in it, the sidebar would be a third of the work of writing pages
}
copybutton_exclude = ".linenos, .gp, .go"
