"""Parts of a run by name: what config files and command lines are made of."""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ml_collections import ConfigDict

from lopt.errors import UserError, suggest


class Parts(dict[str, Callable[..., Any]]):
    """The parts of one kind by name; a name that is not there is a `UserError`.

    >>> ESTIMATORS = Parts("estimator", es=dict)
    >>> ESTIMATORS["as"]
    Traceback (most recent call last):
        ...
    lopt.errors.UserError: unknown estimator 'as'; did you mean es? valid: es
    """

    def __init__(self, kind: str, **parts: Callable[..., Any]):
        super().__init__(parts)
        self.kind = kind

    def __missing__(self, name: str) -> NoReturn:
        raise UserError(f"unknown {self.kind} {name!r}; {suggest(str(name), self)}")


def config(parts: Parts, name: str, **arguments: Any) -> ConfigDict:
    """The config of a part: its name and all its arguments, so that each can be overridden.

    Args:
      parts: those of one kind.
      name: which of them.
      **arguments: those that differ from their defaults.

    Raises:
      UserError: for an unknown name or argument.

    Example:
      >>> from lopt.meta import ESTIMATORS
      >>> config(ESTIMATORS, "es", pairs=4).to_dict()["pairs"]
      4
    """
    parameters = _parameters(parts, name, arguments)
    defaults = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
    return ConfigDict({"name": name, **defaults, **arguments})


def build(parts: Parts, part: str | Mapping[str, Any]) -> Any:
    """Make a part from its config, or from a text such as `"momentum(decays=(0.9, 0.99))"`.

    Raises:
      UserError: for a text that cannot be read, an unknown name or argument, or a missing one;
        valid ones are listed.
    """
    arguments = parse(part) if isinstance(part, str) else dict(part)
    name = arguments.pop("name")
    parameters = _parameters(parts, name, arguments)
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in arguments]
    if missing:
        raise UserError(f"{name} needs the argument {missing[0]!r}")
    return parts[name](**arguments)


def parse(text: str) -> dict[str, Any]:
    """Read `name` or `name(argument=literal, ...)` as the mapping that `build` takes.

    >>> parse("mlp(data='digits', widths=(32,))")
    {'name': 'mlp', 'data': 'digits', 'widths': (32,)}

    Raises:
      UserError: if the text is neither.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return {"name": node.id}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            values = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
            return {"name": node.func.id, **values}
    except (SyntaxError, ValueError):
        pass
    raise UserError(f"cannot read {text!r}; write name or name(argument=value, ...)")


def describe(part: str | Mapping[str, Any]) -> str:
    """The text of a part's config; `parse` reads it.

    >>> describe({"name": "mlp", "data": "digits"})
    "mlp(data='digits')"
    """
    if isinstance(part, str):
        return part
    arguments = ", ".join(f"{k}={_plain(v)!r}" for k, v in part.items() if k != "name")
    return f"{part['name']}({arguments})" if arguments else part["name"]


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _parameters(
    parts: Parts, name: str, arguments: Mapping[str, Any]
) -> Mapping[str, inspect.Parameter]:
    parameters = inspect.signature(parts[name]).parameters
    for argument in arguments:
        if argument not in parameters:
            raise UserError(f"{name} has no argument {argument!r}; {suggest(argument, parameters)}")
    return parameters
