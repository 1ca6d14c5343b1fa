"""Sphinx settings. ``make docs`` builds with warnings as errors; the cells of the pages run while it builds."""

from __future__ import annotations

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "whybox"
author = "The whybox developers"
copyright = author
release = version = _project["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
# Only the pages: the README is for the repository's front page.
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "generated/.*"]

# Docstrings have Google's sections (Args, Returns, Raises, Example).
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_merge_streams = True

html_theme = "alabaster"
html_title = f"whybox {release}"
html_theme_options = {"description": _project["description"], "page_width": "1080px", "fixed_sidebar": True}
html_copy_source = False


def _without_the_types_own_docstring(_app, what, _name, obj, _options, lines):
    """A constant without a docstring would show that of dict or tuple."""
    if what == "data" and obj.__doc__ == type(obj).__doc__:
        lines.clear()


def setup(app):
    app.connect("autodoc-process-docstring", _without_the_types_own_docstring)
