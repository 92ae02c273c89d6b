"""The tables of what configs can name: each `Parts` is documented with its names and arguments."""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from lopt.base.parts import Parts


def _comment(name: str, value: Any) -> list[str]:
    """The text below the assignment of a variable, in whichever module of the package it stands."""
    for module in [m for n, m in sys.modules.items() if n.partition(".")[0] == "lopt"]:
        if vars(module).get(name) is value:
            comments = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
            if ("", name) in comments:
                return comments["", name]
    return []


def _arguments(make: Callable[..., Any]) -> str:
    """`name=default` of each argument that a config can give."""
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in inspect.signature(make).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return f"({', '.join(shown)})" if shown else ""


def _table(parts: Parts, package: str) -> Iterator[str]:
    """A list item for each name, with its arguments and the first line of what it makes."""
    for name, make in parts.items():
        if not callable(make):
            yield f"- ``{name}``"
            continue
        function = make.func if isinstance(make, partial) else make
        own = getattr(function, "__name__", "<lambda>")
        summary = inspect.cleandoc(function.__doc__ or "").partition("\n")[0]
        yield f"- :py:obj:`{name}{_arguments(make)} <{package}.{own}>`" + (
            f": {summary}" if summary and own != "<lambda>" else ""
        )


def describe(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Document a variable with the text below it, and `Parts` with a table of what they hold."""
    if what != "data":
        return
    lines[:] = _comment(name.rpartition(".")[2], value) or lines
    if isinstance(value, Parts):
        lines += ["", *_table(value, name.rpartition(".")[0]), ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc."""
    app.connect("autodoc-process-docstring", describe)
    return {"parallel_read_safe": True}
