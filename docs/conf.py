"""Sphinx's configuration: the site of this folder, with what is generated from the code (`generate.py`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate import write  # noqa: E402 - beside this file

from workspace_managers.__main__ import _version  # noqa: E402

project = "Workspace managers for JupyterHub"
release = _version()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "jupyterhub_sphinx_theme"]
html_theme = "jupyterhub_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": False, "use_edit_page_button": False}
exclude_patterns = ["build", "example-plugin", "example-projects"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "toc.no_title"]  # tables of benchmarks, which their README links to
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"


def setup(app: Any) -> None:
    """Called by Sphinx before it looks for pages."""
    write(HERE / "generated")
