"""Settings of the documentation site: `make docs` builds it into docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from deephochuli import __version__  # noqa: E402 - the path of the extensions comes first

project = "DeepHochuli"
author = "The DeepHochuli authors"
copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    # Of this folder:
    "docstrings",
    "insertions",
    "mathml",
    "offline",
]
exclude_patterns = ["_build", "_ext"]
# The pages are read on a forge, too: what is a list of pages there is a table of contents here.
root_doc = "index"
# Names that this site lists must lead somewhere; types of other libraries in signatures need not.
nitpicky = True
nitpick_ignore_regex = [(r"py:(?!obj).*", r".*"), (r"py:obj", r"typing\..*")]
default_role = "code"

myst_enable_extensions = ["dollarmath"]
# As a forge makes them; a link into a page is checked against them.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # what stands before a colon is often no type here
napoleon_attr_annotations = False  # types stand in the signatures
# What is exact, in which type sums are formed, whether a result repeats: CONTRIBUTING.md.
napoleon_custom_sections = ["Numerics"]

html_theme = "furo"
html_title = f"DeepHochuli {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
