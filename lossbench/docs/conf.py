"""How Sphinx makes the site: `make docs`; nothing is fetched from a network."""

from lossbench import __version__

project = "lossbench"
author = "the lossbench developers"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "lossbench"
html_show_sourcelink = False
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook is kept as it was executed; a test executes it again
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Columns", "params_style"), ("Source", "notes_style")]
