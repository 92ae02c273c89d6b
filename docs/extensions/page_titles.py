"""Links that are called by their file, as GitHub shows them, have the page's title on the site."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx


def name_by_title(app: Sphinx, doctree: nodes.document) -> None:
    """Drop the text of links to pages that is the name of a file; MyST then takes the title."""
    for link in doctree.findall(pending_xref):
        if link.get("reftype") == "myst" and link.astext().endswith(".md"):
            link["refexplicit"] = False
            for text in list(link.findall(nodes.Text)):
                text.parent.remove(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the end of reading a page."""
    app.connect("doctree-read", name_by_title)
    return {"parallel_read_safe": True}
