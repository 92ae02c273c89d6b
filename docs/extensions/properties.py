"""Properties are documented as functions are.

Napoleon takes the first line of a property for `type: description` where it has a colon.
"""

import inspect
from functools import cached_property
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring


def describe(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Read the docstring of a property by the sections of functions."""
    if isinstance(value, property | cached_property) and value.__doc__:
        text = inspect.cleandoc(value.__doc__)
        lines[:] = GoogleDocstring(text, app.config, app, "method", name, value, options).lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc, after napoleon."""
    app.connect("autodoc-process-docstring", describe, priority=900)
    return {"parallel_read_safe": True}
