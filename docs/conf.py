"""What `make docs` builds the site with."""

import sys
from pathlib import Path

from sphinx.domains.python import PyObject

import lopt

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "lopt"
release = version = lopt.__version__
html_title = f"lopt {release}"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "default_role",
    "mathml",
    "parts_tables",
    "properties",
    "public_names",
    "repository_links",
    "source_signatures",
]
exclude_patterns = ["extensions"]
highlight_language = "text"
default_role = "name"
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "special-members": "__call__",
    "show-inheritance": True,
    "no-value": True,
}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_attr_annotations = False  # signatures have them
napoleon_use_ivar = True
napoleon_use_rtype = False

(attributes,) = (field for field in PyObject.doc_field_types if field.name == "variable")
attributes.label = "Attributes"
