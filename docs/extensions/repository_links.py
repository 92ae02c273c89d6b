"""Links that are written for GitHub, on the site.

One that is called by its file has the page's title; one to what the site does not have, such as a
folder of scripts, is text.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]


def adapt(app: Sphinx, doctree: nodes.document) -> None:
    """Name links to pages by the pages' titles, and make links to the repository's files text."""
    for link in list(doctree.findall(pending_xref)):
        if link.get("reftype") != "myst":
            continue
        if link.get("refdomain") == "doc":
            if link.astext().endswith(".md"):  # without a text of its own, MyST takes the title
                link["refexplicit"] = False
                for text in list(link.findall(nodes.Text)):
                    text.parent.remove(text)
        elif (ROOT / link["reftarget"]).exists():
            link.replace_self(nodes.literal("", link.astext()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the end of reading a page."""
    app.connect("doctree-read", adapt)
    return {"parallel_read_safe": True}
