"""Sphinx configuration; the reference pages are generated before the build reads anything."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

generate.write(HERE / "reference")

project = "zmax"
author = "the zmax developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "reference/_*.md"]
html_theme = "furo"
html_title = "zmax"
html_show_sphinx = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = False


def escape_stars(app: Any, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """Keep the star of a shape such as (n, *shape) from being read as emphasis."""
    lines[:] = [re.sub(r"(?<=, )\*(?=\w+\))", r"\\*", line) for line in lines]


def setup(app: Any) -> None:
    """Connect the hooks."""
    app.connect("autodoc-process-docstring", escape_stars, priority=100)
