"""Docstrings put names and code in single backticks: code, with a link where it names an object."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole


class NameRole(PyXRefRole):
    """`` `Rule.init` `` as a link if the site has it, any other text as code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The nodes of the text."""
        if not re.fullmatch(r"[^\W\d]\w*(\.\w+)*", self.text):
            return [nodes.literal(self.rawtext, self.text)], []
        self.name = "py:obj"
        return super().run()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role `name`, which conf.py makes the default one."""
    app.add_role("name", NameRole())
    return {"parallel_read_safe": True}
