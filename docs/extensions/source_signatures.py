"""Signatures as the source has them: `Float[Array, "n m"]`, `optax.ScalarOrSchedule | None`.

Autodoc evaluates annotations and prints what they mean to Python, a union of callables for a
schedule.
"""

import ast
import dataclasses
import inspect
import sys
import textwrap
from typing import Any

from sphinx.application import Sphinx


def _definition(thing: Any) -> ast.FunctionDef | ast.ClassDef | None:
    """The syntax tree of a function or a class, or None if it has no source."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
        (node,) = ast.parse(source).body
    except (OSError, TypeError, SyntaxError):
        return None
    return node if isinstance(node, ast.FunctionDef | ast.ClassDef) else None


class _Linked(ast.NodeTransformer):
    """Annotations with the full names of the package's classes, of which the site shows the last.

    Forward references lose their quotes; the texts of array shapes stay.
    """

    def __init__(self, module: str):
        self.names = vars(sys.modules[module])

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        match node.slice:
            case ast.Tuple(elts=[_, ast.Constant(value=str())]):
                return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        found = self.names.get(node.id)
        if isinstance(found, type) and found.__module__.startswith("lopt."):
            return ast.parse(f"{found.__module__}.{found.__qualname__}", mode="eval").body
        return node


def _of_function(function: Any, bound: bool) -> tuple[str, str | None] | None:
    function = inspect.unwrap(getattr(function, "__func__", function))
    node = _definition(function)
    if not isinstance(node, ast.FunctionDef):
        return None
    first = (node.args.posonlyargs or node.args.args) if bound else []
    del first[:1]
    linked = _Linked(function.__module__)
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg) and argument.annotation:
            argument.annotation = linked.visit(argument.annotation)
    returns = node.returns and ast.unparse(linked.visit(node.returns))
    return f"({ast.unparse(node.args)})", returns


def _default(value: ast.expr) -> str:
    """The default of a field: `field(default_factory=...)` is shown as an ellipsis."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field"):
        given = {k.arg: ast.unparse(k.value) for k in value.keywords}
        return (
            f" = {given['default']}"
            if "default" in given
            else (" = ..." if "default_factory" in given else "")
        )
    return f" = {ast.unparse(value)}"


def _of_fields(cls: type, names: list[str]) -> str:
    """The arguments of a dataclass or a named tuple, from the lines of its fields."""
    lines: dict[str, tuple[ast.AnnAssign, _Linked]] = {}
    for base in reversed(cls.__mro__):
        node = _definition(base) if base.__module__.partition(".")[0] == "lopt" else None
        for line in node.body if node else ():
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                lines[line.target.id] = line, _Linked(base.__module__)
    shown = []
    for name in names:
        if name in lines:
            line, linked = lines[name]
            annotation, value = ast.unparse(linked.visit(line.annotation)), line.value
            shown.append(f"{name}: {annotation}{_default(value) if value else ''}")
    return f"({', '.join(shown)})"


def _of_class(cls: type) -> str | None:
    if dataclasses.is_dataclass(cls):
        return _of_fields(cls, [f.name for f in dataclasses.fields(cls) if f.init])
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _of_fields(cls, list(cls._fields))
    found = _of_function(cls.__init__, bound=True)
    return found and found[0]


def signature(
    app: Sphinx,
    what: str,
    name: str,
    thing: Any,
    options: Any,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None] | None:
    """The signature of a function, a method or a class; None leaves autodoc's."""
    if what == "class":
        found = _of_class(thing)
        return None if found is None else (found, None)
    if what in ("function", "method"):
        owner = name.rpartition(".")[0]
        return _of_function(thing, bound=what == "method" and bool(owner))
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc."""
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
